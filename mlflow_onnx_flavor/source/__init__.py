"""The source model, loaded and called in a process of its own."""
