"""A Keras model on scikit-learn's wine recognition data."""

from __future__ import annotations

from pathlib import Path

from examples.trained import Trained, main, registered_uri


def train(folder: Path) -> Trained:
    """Train a small dense net and log it with mlflow.tensorflow."""
    import keras
    import mlflow
    import numpy as np
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(0)
    wine = load_wine()
    x_train, x_test, y_train, y_test = train_test_split(
        wine.data.astype(np.float32), wine.target, test_size=0.3, random_state=0
    )
    normalization = keras.layers.Normalization()
    normalization.adapt(x_train)
    model = keras.Sequential(
        [
            keras.Input(shape=(x_train.shape[1],), name="measurements"),
            normalization,
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=30, verbose=0)
    right = float((model.predict(x_test, verbose=0).argmax(1) == y_test).mean())

    evaluation = folder / "wine.npz"
    np.savez(evaluation, measurements=x_test)
    with mlflow.start_run(run_name="train wine"):
        mlflow.log_metric("accuracy", right)
        logged = mlflow.tensorflow.log_model(
            model,
            name="wine",
            input_example=x_train[:5],
            registered_model_name="wine-source",
            pip_requirements=["tensorflow", "keras"],
        )
    return Trained(
        registered_uri(logged),
        evaluation,
        f"Keras dense net on wine measurements: {right:.1%} of {len(x_test)} held-out wines right",
    )


if __name__ == "__main__":
    main(train)
