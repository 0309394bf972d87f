"""Readers of evaluation data, one format a file."""
