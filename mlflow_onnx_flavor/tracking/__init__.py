"""Reach the MLflow server and download from it."""
