"""PyTorch modules and programs."""
