"""One thin module per MLproject entry point: `python -m pipelines.STEP --parameter value`."""
