"""XGBoost models."""
