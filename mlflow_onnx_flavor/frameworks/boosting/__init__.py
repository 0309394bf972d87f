"""Shared code of the XGBoost, LightGBM and CatBoost frameworks."""
