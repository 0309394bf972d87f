"""The MLproject entry points, one module each: `python -m pipelines.STEP --parameter value`."""
