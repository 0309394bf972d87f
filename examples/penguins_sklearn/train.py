"""A scikit-learn pipeline on the Palmer penguins: numbers, text, and missing values in both."""

from __future__ import annotations

from pathlib import Path

from examples.trained import Trained, main, registered_uri


def train(folder: Path) -> Trained:
    """Train a random forest behind a ColumnTransformer and log it with mlflow.sklearn."""
    import mlflow
    from palmerpenguins import load_penguins
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    penguins = load_penguins()
    numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    texts = ["island", "sex"]
    x_train, x_test, y_train, y_test = train_test_split(
        penguins[numbers + texts], penguins["species"].astype(str), test_size=0.3, random_state=0
    )
    model = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
                (
                    "texts",
                    make_pipeline(
                        SimpleImputer(strategy="most_frequent"),
                        OneHotEncoder(handle_unknown="ignore"),
                    ),
                    texts,
                ),
            ]
        ),
        RandomForestClassifier(n_estimators=100, random_state=0),
    )
    model.fit(x_train, y_train)

    evaluation = folder / "penguins.parquet"
    x_test.to_parquet(evaluation)
    with mlflow.start_run(run_name="train penguins"):
        mlflow.log_metric("accuracy", model.score(x_test, y_test))
        logged = mlflow.sklearn.log_model(
            model,
            name="penguins",
            input_example=x_train.head(5),
            serialization_format="cloudpickle",
            registered_model_name="penguins-source",
            pip_requirements=["scikit-learn", "pandas"],
        )
    return Trained(
        registered_uri(logged),
        evaluation,
        f"scikit-learn random forest on the Palmer penguins: {model.score(x_test, y_test):.1%} of"
        f" {len(x_test)} held-out penguins right",
    )


if __name__ == "__main__":
    main(train)
