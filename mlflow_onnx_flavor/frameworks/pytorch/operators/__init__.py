"""Translations of operators that PyTorch's exporter lacks or gets wrong."""
