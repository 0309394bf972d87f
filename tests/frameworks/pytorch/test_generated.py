"""Modules put together at random convert and are right on rows that were not seen."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.generated import generated
from tests.frameworks.in_process import converted, session_of

torch = pytest.importorskip("torch")
nn = torch.nn

WIDTH, LENGTH = 8, 6


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(WIDTH, WIDTH, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x):
        return self.layer(x, x, x, need_weights=False)[0]


class OverTime(nn.Module):
    """A convolution or pooling along the second axis, which keeps its length."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


# Each keeps the shape (batch, LENGTH, WIDTH).
LAYERS = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "linear without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softmax": lambda: nn.Softmax(dim=-1),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "batch norm": lambda: OverTime(nn.BatchNorm1d(WIDTH)),
    "dropout": lambda: nn.Dropout(0.5),
    "convolution": lambda: OverTime(nn.Conv1d(WIDTH, WIDTH, 3, padding=1)),
    "depthwise": lambda: OverTime(nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)),
    "pooling": lambda: OverTime(nn.AvgPool1d(3, stride=1, padding=1)),
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "attention": Attention,
    "residual": lambda: Residual(nn.Linear(WIDTH, WIDTH)),
}

stacks = st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=5)


def check(names: list[str], dtype, seed: int) -> None:
    torch.manual_seed(seed)
    module = nn.Sequential(*(LAYERS[name]() for name in names)).to(dtype)
    generator = np.random.default_rng(seed)

    def rows(count):
        shape = (count, LENGTH, WIDTH)
        return generator.normal(size=shape).astype(str(dtype).removeprefix("torch."))

    module.train()  # some batches, so that batch norm has statistics; MLflow serves in eval mode
    with torch.no_grad():
        for _ in range(2):
            module(torch.from_numpy(rows(16)))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        example = rows(4)
        mlflow.pytorch.save_model(
            module,
            str(source),
            signature=mlflow.models.infer_signature(example),
            input_example=example,
            serialization_format="pickle",
            pip_requirements=[],
        )
        conversion, _ = converted(source, "pytorch", Inputs(example), None, Path(folder) / "out")
        session = session_of(conversion)
        module.eval()
        in_float32 = dtype is torch.float32 or conversion.strategy == "dynamo_float32"
        tolerance = 2e-5 if in_float32 else 1e-10
        for count in (1, 3, 33):
            asked = rows(count)
            with torch.no_grad():
                expected = module(torch.from_numpy(asked)).numpy()
            (found,) = session.run(asked).values()
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


dtypes = st.sampled_from([torch.float32, torch.float64])


@generated(4)
@given(names=stacks, dtype=dtypes, seed=st.integers(0, 99))
def test_a_stack_of_layers_is_right_on_batches_unseen(names, dtype, seed):
    check(names, dtype, seed)


@pytest.mark.slow
@generated(60)
@given(names=stacks, dtype=dtypes, seed=st.integers(0, 999))
def test_many_stacks_of_layers_are_right_on_batches_unseen(names, dtype, seed):
    check(names, dtype, seed)


@pytest.mark.parametrize("name", ["lstm", "attention", "batch norm"])
def test_each_kind_of_layer_that_is_hard_to_export(name):
    check([name, "relu"], torch.float32, seed=1)


@pytest.mark.parametrize("name", ["convolution", "gru", "pooling", "gelu"])
def test_a_float64_layer_without_a_kernel_is_computed_in_float32(name):
    check([name, "linear"], torch.float64, seed=1)
