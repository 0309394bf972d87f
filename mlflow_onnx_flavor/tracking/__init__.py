"""The MLflow server: reach it, download from it."""
