"""Complete, runnable examples on real data; `make demo FRAMEWORK=...` runs one end to end."""
