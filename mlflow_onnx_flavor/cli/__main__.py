"""`python -m mlflow_onnx_flavor.cli`: the `mlflow-onnx` command where it is not on the PATH."""

import sys

from mlflow_onnx_flavor.cli import main

sys.exit(main())
