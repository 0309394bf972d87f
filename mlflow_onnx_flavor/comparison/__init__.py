"""Whether two answers are the same: arrays in, figures out, no processes."""
