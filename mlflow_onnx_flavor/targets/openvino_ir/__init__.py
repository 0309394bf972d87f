"""The module that serves OpenVINO models: `pyfunc.py` is copied into each, and stands alone."""
