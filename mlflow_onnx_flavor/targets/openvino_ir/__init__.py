"""What serves OpenVINO models: `pyfunc.py` is copied into each, and imports nothing of ours."""
