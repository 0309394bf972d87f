"""A LightGBM regressor on scikit-learn's diabetes data."""

from __future__ import annotations

from pathlib import Path

from examples.trained import Trained, main, registered_uri


def train(folder: Path) -> Trained:
    """Train gradient-boosted trees on named columns and log them with mlflow.lightgbm."""
    import mlflow
    from lightgbm import LGBMRegressor
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    data = load_diabetes(as_frame=True, scaled=False)
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.4, random_state=0
    )
    model = LGBMRegressor(n_estimators=150, num_leaves=15, learning_rate=0.05, verbose=-1)
    model.fit(x_train, y_train)
    r_squared = float(model.score(x_test, y_test))

    evaluation = folder / "diabetes.parquet"
    x_test.to_parquet(evaluation)
    with mlflow.start_run(run_name="train diabetes"):
        mlflow.log_metric("r_squared", r_squared)
        logged = mlflow.lightgbm.log_model(
            model,
            name="diabetes",
            input_example=x_train.head(5),
            serialization_format="cloudpickle",
            registered_model_name="diabetes-source",
            pip_requirements=["lightgbm", "scikit-learn", "pandas"],
        )
    return Trained(
        registered_uri(logged),
        evaluation,
        f"LightGBM on diabetes progression: R² {r_squared:.2f} on {len(x_test)} held-out patients",
    )


if __name__ == "__main__":
    main(train)
