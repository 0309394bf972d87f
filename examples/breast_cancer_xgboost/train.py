"""An XGBoost classifier on scikit-learn's breast-cancer data."""

from __future__ import annotations

from pathlib import Path

from examples.trained import Trained, main, registered_uri


def train(folder: Path) -> Trained:
    """Train gradient-boosted trees on named columns and log them with mlflow.xgboost."""
    import mlflow
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split
    from xgboost import XGBClassifier

    data = load_breast_cancer(as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.4, random_state=0
    )
    model = XGBClassifier(n_estimators=200, max_depth=4, learning_rate=0.1)
    model.fit(x_train, y_train)
    right = float((model.predict(x_test) == y_test).mean())

    evaluation = folder / "breast_cancer.parquet"
    x_test.to_parquet(evaluation)
    with mlflow.start_run(run_name="train breast cancer"):
        mlflow.log_metric("accuracy", right)
        logged = mlflow.xgboost.log_model(
            model,
            name="breast-cancer",
            input_example=x_train.head(5),
            registered_model_name="breast-cancer-source",
            pip_requirements=["xgboost", "scikit-learn", "pandas"],
        )
    return Trained(
        registered_uri(logged),
        evaluation,
        f"XGBoost on breast-cancer measurements: {right:.1%} of {len(x_test)} held-out rows right",
    )


if __name__ == "__main__":
    main(train)
