"""What XGBoost, LightGBM and CatBoost share."""
