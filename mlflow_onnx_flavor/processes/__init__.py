"""Child processes: start, call, limit and end them."""
