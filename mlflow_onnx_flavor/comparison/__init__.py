"""Comparison of two answers: arrays go in, figures come out, no processes."""
