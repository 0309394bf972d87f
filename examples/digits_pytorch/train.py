"""A PyTorch convolutional net on scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path

from examples.trained import Trained, main, registered_uri


def train(folder: Path) -> Trained:
    """Train a small convolutional net and log it with mlflow.pytorch."""
    import mlflow
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn

    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.3, random_state=0
    )
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 4 * 4, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    inputs, targets = torch.from_numpy(x_train), torch.from_numpy(y_train)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(torch.from_numpy(x_test)).argmax(1).numpy() == y_test).mean()

    evaluation = folder / "digits.npz"
    np.savez(evaluation, images=x_test)
    with mlflow.start_run(run_name="train digits"):
        mlflow.log_metric("accuracy", float(right))
        logged = mlflow.pytorch.log_model(
            model,
            name="digits",
            input_example=x_train[:5],
            serialization_format="pickle",
            registered_model_name="digits-source",
            pip_requirements=["torch"],
        )
    return Trained(
        registered_uri(logged),
        evaluation,
        f"PyTorch convolutional net on handwritten digits: {right:.1%} of {len(x_test)} held-out"
        " digits right",
    )


if __name__ == "__main__":
    main(train)
