"""LightGBM models."""
