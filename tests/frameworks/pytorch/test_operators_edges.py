"""Operators that the project translates itself: as PyTorch at every batch size, on edge values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mlflow_onnx_flavor.frameworks.pytorch.calls import named_outputs
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring import load_session

RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(33, 6)).astype(np.float32)
EDGES = FLOATS.copy()
EDGES[1, 2], EDGES[2, 0], EDGES[3, 1], EDGES[4], EDGES[5, :3] = np.nan, np.inf, -np.inf, 0.0, -0.0
EDGES[6], EDGES[8, 3:], EDGES[9], EDGES[10, 0], EDGES[11] = 1.5, 0.25, np.nan, 1e30, -1.5
INTEGERS = RNG.integers(-7, 8, size=(33, 6))
LARGE = INTEGERS * 1_000_003 * 4099 + 1
IMAGES = RNG.normal(size=(33, 2, 6, 5)).astype(np.float32)
MATRICES = RNG.normal(size=(33, 3, 3)).astype(np.float32)
POSITIVE = MATRICES @ MATRICES.transpose(0, 2, 1) + np.eye(3, dtype=np.float32)

SCALE = torch.linspace(-2, 2, 6)
LIST = torch.tensor([-1.0, 0.0, 0.5, 2.0])
CENTRES = torch.linspace(-1, 1, 24).reshape(4, 6)
BINS = torch.tensor([0, 1, 0, 2, 1, 2])


def binned(x, reduce, **options):
    start = torch.ones(x.shape[0], 3, dtype=x.dtype)
    return start.scatter_reduce(1, BINS.expand(x.shape[0], 6), x, reduce, **options)


def indexed(x, reduce):
    return torch.ones(x.shape[0], 3).index_reduce(1, BINS, x, reduce)


# Of equal numbers PyTorch may point at any, so places are asked of rows without.
ON_EDGES = {
    "extremes": lambda x: (x.argmax(1), x.argmin(1, keepdim=True), x.max(1), x.min(1)),
    "near one": lambda x: (
        1e6 * torch.log1p(1e-6 * x.abs()),
        1e6 * torch.expm1(1e-6 * x),
        torch.log1p(x),
        torch.expm1(x),
    ),
    "median": lambda x: x.median(1).values,
    "median of all": lambda x: x - x.nan_to_num(0.0, 0.0, 0.0).median(),
    "nanmedian": lambda x: x.nanmedian(1, keepdim=True).values,
    "nanmedian of all": lambda x: x - x.nanmedian(),
    "kthvalue": lambda x: x.kthvalue(2, 1).values,
    "cummax": lambda x: x.cummax(1),
    "cummin": lambda x: x.cummin(1),
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "searchsorted": lambda x: (
        torch.searchsorted(LIST, x),
        torch.searchsorted(LIST, x, right=True, out_int32=True),
        torch.searchsorted(LIST.expand(x.shape[0], 4), x, side="right"),
    ),
    "isin": lambda x: torch.isin(x, torch.tensor([1.5, 0.0, torch.nan])),
    "fmax": lambda x: (torch.fmax(x, SCALE), torch.fmin(SCALE, x), torch.fmax(x, x.flip(0))),
    "sort": lambda x: (
        x.sort(dim=1, stable=True),
        x.sort(dim=1, descending=True, stable=True),
        x.argsort(dim=1, stable=True),
    ),
    "log sigmoid": lambda x: functional.logsigmoid(200 * x),
    "hypot": lambda x: torch.hypot(x, SCALE),
    "copysign": lambda x: (
        torch.signbit(torch.copysign(SCALE.abs(), x.nan_to_num())),
        torch.copysign(x, -1.0),
    ),
    "sign": lambda x: (torch.sign(x), torch.signbit(x.nan_to_num())),
    "logaddexp": lambda x: (torch.logaddexp(90 * x, SCALE), torch.logaddexp2(200 * x, SCALE)),
    "atan2": lambda x: (torch.atan2(x, SCALE), torch.heaviside(x, torch.tensor(0.5))),
    "gamma": lambda x: (torch.lgamma(x), torch.digamma(x), torch.lgamma(30 * x)),
    "erfinv": lambda x: torch.erfinv(x),
    "remainder": lambda x: (torch.remainder(x, 0.7), torch.remainder(x, -0.7), 2.5 % (x + 9.0)),
    "floor division": lambda x: (x // 0.1, torch.div(x, -0.7, rounding_mode="floor")),
    "truncating division": lambda x: torch.div(x, 0.7, rounding_mode="trunc"),
}
ON_FLOATS = {
    "places": lambda x: (x.median(1), x.kthvalue(5, 1, True), x.nanmedian(1)),
    "cdist": lambda x: tuple(torch.cdist(x, CENTRES, p) for p in (0.0, 1.0, 2.0, 3.0, np.inf)),
    "scatter mean": lambda x: (binned(x, "mean"), binned(x, "mean", include_self=False)),
    "index reduce": lambda x: tuple(indexed(x, each) for each in ("mean", "amax", "amin", "prod")),
    "take along an axis": lambda x: x.take_along_dim(x.argsort(1)[:, :4], 1),
    "einsum of three": lambda x: torch.einsum("bi,ij,kj->bk", x, torch.eye(6), CENTRES),
    "masked select": lambda x: x + x.masked_select(x > 0).sum(),
}
ON_INTEGERS = {
    "median": lambda x: (x.median(1).values, x.kthvalue(3, 1).values),
    "mode": lambda x: x.mode(1),
    "cummax": lambda x: (x.cummax(1), x.cummin(1)),
    "cumprod": lambda x: x.cumprod(1),
    "scatter mean": lambda x: binned(x, "mean"),
    "division": lambda x: (
        torch.div(x, 3, rounding_mode="floor"),
        torch.div(x, -3, rounding_mode="trunc"),
        x // -7,
        x % -7,
    ),
    "isin": lambda x: torch.isin(x, torch.tensor([1, 2, -3])),
}
ON_IMAGES = {
    "adaptive max": lambda x: functional.adaptive_max_pool2d(x, (4, 2), return_indices=True),
    "adaptive max of all": lambda x: functional.adaptive_max_pool2d(x, 1),
    "adaptive max in three": lambda x: functional.adaptive_max_pool3d(x, (1, 4, 3)),
}
ON_MATRICES = {
    "inverse": lambda x: (torch.linalg.inv(x), x.inverse()),
    "solution": lambda x: (
        torch.linalg.solve(x, x @ torch.ones(3, 2)),
        torch.linalg.solve(x, torch.ones(2, 3) @ x, left=False),
    ),
    "cholesky": lambda x: (torch.linalg.cholesky(x), torch.linalg.cholesky(x, upper=True)),
    "triangular solution": lambda x: (
        torch.linalg.solve_triangular(x.tril(), torch.ones(3, 2), upper=False),
        torch.linalg.solve_triangular(x.triu(), x, upper=True, left=False, unitriangular=True),
    ),
    "solution by Cholesky's root": lambda x: (
        torch.cholesky_solve(x[:, :, :1], torch.linalg.cholesky(x)),
        torch.cholesky_solve(torch.eye(3), torch.linalg.cholesky(x, upper=True), upper=True),
    ),
    "density": lambda x: torch.distributions.MultivariateNormal(
        torch.zeros(3), covariance_matrix=x
    ).log_prob(x[:, 0]),
    "logarithm of the determinant": lambda x: torch.linalg.slogdet(-x),
}
torch.manual_seed(0)
PROJECTING = nn.LSTM(5, 4, 2, batch_first=True, proj_size=3, bidirectional=True)
ON_IMAGES["projecting"] = lambda x: PROJECTING(x[:, 0])
CASES = [
    (name, function, rows)
    for functions, rows in (
        (ON_EDGES, EDGES),
        (ON_FLOATS, FLOATS),
        (ON_INTEGERS, INTEGERS),
        ({"large division": ON_INTEGERS["division"]}, LARGE),
        (ON_IMAGES, IMAGES),
        (ON_MATRICES, POSITIVE),
    )
    for name, function in functions.items()
]


class Of(nn.Module):
    """Several functions of the same rows, every answer of which is an output."""

    def __init__(self, functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        return [function(x) for function in self.functions]


@pytest.mark.parametrize(
    "rows", [EDGES, FLOATS, INTEGERS, LARGE, IMAGES, POSITIVE], ids=lambda rows: str(rows.shape)
)
def test_as_pytorch_at_every_batch_size(rows, tmp_path):
    """All of a kind in one module: an export costs more than the operators do."""
    functions = [function for _, function, taken in CASES if taken is rows]
    module = Of(functions).eval()
    finite = np.nan_to_num(rows[12:16]) if rows.dtype.kind == "f" else rows[12:16]
    export = Exporter(module, Inputs(finite), None).dynamo(tmp_path / "model.onnx")
    session = load_session(str(tmp_path / "model.onnx")).session
    for count in (1, 2, 3, 33):
        expected = named_outputs(module, Inputs(rows[:count]))
        found = session.run(list(export.outputs), {export.feeds[0].name: rows[:count]})
        for array, (name, exact) in zip(found, expected.items(), strict=True):
            assert array.dtype == exact.dtype, name
            np.testing.assert_allclose(array, exact, rtol=2e-5, atol=2e-6, err_msg=name)
