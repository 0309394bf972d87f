"""Readers of evaluation data, one file for each format."""
