"""Operators that PyTorch's exporter lacks or gets wrong."""
