"""The translations of PyTorch's operators here, each compared with the exporter's own form.

    python -m benchmarks.pytorch_overrides [--only sort,median]

Each operator that `frameworks.pytorch.operators` translates in place of PyTorch's exporter is
exported twice: with the translations here ("ours"), and with all of them but its own ("theirs").
Both graphs run in onnxruntime at several batch sizes, on rows with NaN, infinities, zeros of both
signs and equal numbers if the operator is defined for these, and are compared with PyTorch.  The
output is a table in Markdown, one row for each operator and dtype.  A translation whose operator
is "both right" in every row is superfluous, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from mlflow_onnx_flavor.errors import one_line
from mlflow_onnx_flavor.frameworks.pytorch.export import DYNAMO_OPSET
from mlflow_onnx_flavor.frameworks.pytorch.operators.table import translations
from mlflow_onnx_flavor.frameworks.pytorch.portable import portable
from mlflow_onnx_flavor.onnx_graph.exporter_text import plain

BATCH_SIZES = (1, 3, 33)
# The tolerance relative to the largest finite output.
TOLERANCE = {"float32": 2e-5, "float64": 1e-9, "int64": 0.0}

_RNG = np.random.default_rng(0)
_FLOATS = _RNG.normal(size=(33, 6))
_EDGES = _FLOATS.copy()
_EDGES[1, 2], _EDGES[2, 0], _EDGES[0, 1], _EDGES[4], _EDGES[5, :3] = (
    np.nan,
    np.inf,
    -np.inf,
    0,
    -0.0,
)
_EDGES[6], _EDGES[8, 3:], _EDGES[9], _EDGES[10, 0] = 1.5, 0.25, np.nan, 1e30
_WHOLE = _RNG.integers(-7, 8, size=(33, 6))
_IMAGES = _RNG.normal(size=(33, 2, 6, 5))
_MATRICES = _RNG.normal(size=(33, 3, 3))
_POSITIVE = _MATRICES @ _MATRICES.transpose(0, 2, 1) + np.eye(3)
_BINS = torch.tensor([0, 1, 0, 2, 1, 2])
FLOATS, ALL = ("float32", "float64"), ("float32", "float64", "int64")


@dataclass(frozen=True)
class Case:
    """Calls that reach one operator, with ``rows`` of shape (33, ...)."""

    call: Callable[[Any], Any]
    rows: np.ndarray
    dtypes: tuple[str, ...] = FLOATS


def _weights(x: Any) -> Any:
    return torch.linspace(-2, 2, 6).to(x.dtype)


def _scattered(x: Any) -> Any:
    start = torch.ones(x.shape[0], 3, dtype=x.dtype)
    return start.scatter_reduce(1, _BINS.expand(x.shape[0], 6), x, "mean", include_self=False)


def _indexed(x: Any) -> Any:
    start = torch.ones(x.shape[0], 3, dtype=x.dtype)
    return tuple(start.index_reduce(1, _BINS, x, how) for how in ("mean", "amax", "prod"))


def _rows_of_lists(x: Any) -> Any:
    known = torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=x.dtype)
    return (torch.searchsorted(known, x), torch.searchsorted(known, x, right=True, out_int32=True))


class _Projecting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.LSTM(5, 4, 2, batch_first=True, proj_size=3, bidirectional=True)

    def forward(self, x: Any) -> Any:
        return self.layer(x[:, 0])[0]


_PROJECTING = {each: _Projecting().to(getattr(torch, each)).eval() for each in FLOATS}
CASES = {
    "aten.div.Tensor_mode": Case(
        lambda x: torch.div(x, x.abs() + 2, rounding_mode="floor"), _EDGES, ALL
    ),
    "aten.div.Scalar_mode": Case(lambda x: torch.div(x, -3, rounding_mode="trunc"), _EDGES, ALL),
    "aten.floor_divide.default": Case(
        lambda x: torch.floor_divide(x, torch.full_like(x, -3)), _EDGES, ALL
    ),
    "aten.remainder.Tensor": Case(
        lambda x: torch.remainder(x, torch.full_like(x, -3)), _EDGES, ALL
    ),
    "aten.remainder.Scalar": Case(lambda x: torch.remainder(x, -3), _EDGES, ALL),
    "aten.remainder.Scalar_Tensor": Case(lambda x: torch.remainder(25, x.abs() + 9), _EDGES, ALL),
    "aten.rsub.Scalar": Case(lambda x: torch.rsub(x, 1.5, alpha=2), _EDGES, ALL),
    "aten.adaptive_max_pool2d.default": Case(
        lambda x: functional.adaptive_max_pool2d(x, (4, 2), return_indices=True), _IMAGES
    ),
    "aten.adaptive_max_pool3d.default": Case(
        lambda x: functional.adaptive_max_pool3d(x, (1, 4, 3)), _IMAGES
    ),
    "aten.argmax.default": Case(lambda x: x.argmax(1), _EDGES, FLOATS),
    "aten.argmin.default": Case(lambda x: x.argmin(1, keepdim=True), _EDGES, FLOATS),
    "aten.max.dim": Case(lambda x: x.max(1).values, _EDGES, ALL),
    "aten.min.dim": Case(lambda x: x.min(1).values, _EDGES, ALL),
    "aten.fmax.default": Case(lambda x: torch.fmax(x, _weights(x)), _EDGES),
    "aten.fmin.default": Case(lambda x: torch.fmin(x, _weights(x)), _EDGES),
    "aten.sort.stable": Case(lambda x: x.sort(dim=1, stable=True), _EDGES, ALL),
    "aten.median.default": Case(lambda x: x - x.nan_to_num(0.0, 0.0, 0.0).median(), _EDGES),
    "aten.median.dim": Case(lambda x: x.median(1).values, _EDGES, ALL),
    "aten.nanmedian.default": Case(lambda x: x - x.nanmedian(), _EDGES),
    "aten.nanmedian.dim": Case(lambda x: x.nanmedian(1, keepdim=True).values, _EDGES),
    "aten.kthvalue.default": Case(lambda x: x.kthvalue(2, 1).values, _EDGES, ALL),
    "aten.mode.default": Case(lambda x: x.mode(1).values, _WHOLE, ALL),
    "aten.searchsorted.Tensor": Case(_rows_of_lists, _EDGES),
    "aten.searchsorted.Scalar": Case(
        lambda x: torch.searchsorted(x.sort(1, stable=True).values[0], 0.5) + x, _FLOATS
    ),
    "aten._cdist_forward.default": Case(
        lambda x: tuple(
            torch.cdist(x, _weights(x).expand(4, 6), p) for p in (0.0, 1.0, 3.0, np.inf)
        ),
        _FLOATS,
    ),
    "aten._euclidean_dist.default": Case(
        lambda x: torch.cdist(x, _weights(x).expand(4, 6), compute_mode="use_mm_for_euclid_dist"),
        _FLOATS,
    ),
    "aten.hypot.default": Case(lambda x: torch.hypot(x, _weights(x)), _EDGES),
    "aten.copysign.Tensor": Case(lambda x: torch.copysign(_weights(x), x.nan_to_num()), _EDGES),
    "aten.copysign.Scalar": Case(lambda x: torch.copysign(x, -1.0), _EDGES),
    "aten.sign.default": Case(lambda x: torch.sign(x), _EDGES, ALL),
    "aten.signbit.default": Case(lambda x: torch.signbit(x.nan_to_num()), _EDGES),
    "aten.atan2.default": Case(lambda x: torch.atan2(x, _weights(x)), _EDGES),
    "aten.heaviside.default": Case(
        lambda x: torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype)), _EDGES
    ),
    "aten.logaddexp.default": Case(lambda x: torch.logaddexp(900 * x, _weights(x)), _EDGES),
    "aten.logaddexp2.default": Case(lambda x: torch.logaddexp2(2000 * x, _weights(x)), _EDGES),
    "aten.log_sigmoid.default": Case(lambda x: functional.logsigmoid(200 * x), _EDGES),
    "aten.log1p.default": Case(lambda x: 1e6 * torch.log1p(1e-6 * x.abs()), _EDGES[:9]),
    "aten.expm1.default": Case(lambda x: 1e6 * torch.expm1(1e-6 * x), _EDGES[:9]),
    "aten.lgamma.default": Case(lambda x: torch.lgamma(30 * x), _FLOATS),
    "aten.digamma.default": Case(lambda x: torch.digamma(x), _FLOATS),
    "aten.erfinv.default": Case(lambda x: torch.erfinv(x.tanh()), _FLOATS),
    "aten.linalg_inv_ex.default": Case(torch.linalg.inv, _POSITIVE),
    "aten._linalg_solve_ex.default": Case(lambda x: torch.linalg.solve(x, x[:, :, :2]), _POSITIVE),
    "aten._linalg_slogdet.default": Case(lambda x: tuple(torch.linalg.slogdet(-x)), _POSITIVE),
    "aten.linalg_cholesky_ex.default": Case(torch.linalg.cholesky, _POSITIVE),
    "aten.cholesky_solve.default": Case(
        lambda x: torch.cholesky_solve(x[:, :, :1], x.tril()), _POSITIVE
    ),
    "aten.linalg_solve_triangular.default": Case(
        lambda x: torch.linalg.solve_triangular(x.tril(), x[:, :, :2], upper=False), _POSITIVE
    ),
    "aten.lstm.input": Case(lambda x: _PROJECTING[str(x.dtype)[6:]](x), _IMAGES),
    "aten.cummax.default": Case(lambda x: x.cummax(1), _EDGES, ALL),
    "aten.cummin.default": Case(lambda x: x.cummin(1), _EDGES, ALL),
    "aten.cumprod.default": Case(lambda x: x.cumprod(1), _EDGES, ALL),
    "aten.logcumsumexp.default": Case(lambda x: x.logcumsumexp(1), _EDGES),
    "aten.scatter_reduce.two": Case(_scattered, _FLOATS, ALL),
    "aten.index_reduce.default": Case(_indexed, _FLOATS),
    "aten.masked_select.default": Case(lambda x: x + x.masked_select(x > 0).sum(), _FLOATS, ALL),
    "aten.scalar_tensor.default": Case(
        lambda x: x + torch.scalar_tensor(0.1, dtype=x.dtype), _EDGES
    ),
    "aten.full.default": Case(lambda x: x + torch.full((6,), 0.1, dtype=x.dtype), _EDGES),
    "aten.full_like.default": Case(lambda x: x + torch.full_like(x, 0.1), _EDGES),
    "aten.new_full.default": Case(lambda x: x + x.new_full((x.shape[0], 1), 0.1), _EDGES),
    "aten.fill.Scalar": Case(lambda x: x + torch.fill(x, 0.1), _FLOATS),
    "aten.clamp.default": Case(lambda x: x.clamp(-0.1, 0.3), _EDGES),
    "aten.clamp_min.default": Case(lambda x: x.clamp_min(0.1), _EDGES),
    "aten.clamp_max.default": Case(lambda x: x.clamp_max(0.1), _EDGES),
    "aten.hardtanh.default": Case(lambda x: functional.hardtanh(x, -0.1, 0.3), _EDGES),
    "aten.masked_fill.Scalar": Case(lambda x: x.masked_fill(x > 0, 0.1), _EDGES),
    "aten.leaky_relu.default": Case(lambda x: functional.leaky_relu(x, 0.1), _EDGES),
    "aten.elu.default": Case(lambda x: functional.elu(x, 0.7), _EDGES),
    "aten.selu.default": Case(functional.selu, _EDGES),
}


def _resized(mode: str, axes: int, by_size: bool) -> Callable[[Any], Any]:
    """Return nearest neighbours along the last ``axes`` of images, by a factor or to a size."""
    name = f"upsample_nearest{axes}d" if mode == "nearest" else f"_upsample_nearest_exact{axes}d"
    sizes = {1: [11], 2: [11, 8], 3: [2, 11, 8]}[axes]

    def call(x: Any) -> Any:
        shaped = {1: x[..., 0], 2: x, 3: x[:, :, None]}[axes]
        if by_size:
            return getattr(torch.ops.aten, name).default(shaped, sizes)
        return functional.interpolate(shaped, scale_factor=1.7, mode=mode)

    return call


for _mode, _name in (("nearest", "upsample_nearest"), ("nearest-exact", "_upsample_nearest_exact")):
    for _axes in (1, 2, 3):
        CASES[f"aten.{_name}{_axes}d.vec"] = Case(_resized(_mode, _axes, False), _IMAGES)
        CASES[f"aten.{_name}{_axes}d.default"] = Case(_resized(_mode, _axes, True), _IMAGES)


class _Called(nn.Module):
    def __init__(self, call: Callable[[Any], Any]):
        super().__init__()
        self.call = call

    def forward(self, x: Any) -> Any:
        return self.call(x)


def main() -> int:
    """Print the table; return 1 if a translation is superfluous or has no case, else 0."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="parts of operators' names, with commas between")
    wanted = parser.parse_args().only.split(",")
    table = {str(operator): operator for operator in translations()}
    print("| operator | dtype | ours | theirs |\n| --- | --- | --- | --- |", flush=True)
    superfluous = []
    for name, operator in sorted(table.items()):
        if not any(part in name for part in wanted):
            continue
        if name not in CASES:
            print(f"| {name} | - | no case | no case |", flush=True)
            superfluous.append(name)
            continue
        rights = [_compare(name, operator, CASES[name], dtype) for dtype in CASES[name].dtypes]
        if all(rights):
            superfluous.append(name)
    print(f"\nsuperfluous, or without a case: {', '.join(superfluous) or 'none'}")
    return int(bool(superfluous))


def _compare(name: str, operator: Any, case: Case, dtype: str) -> bool:
    """Print one row; return whether both graphs are right."""
    rows = torch.tensor(np.nan_to_num(case.rows) if dtype == "int64" else case.rows)
    rows = (10 * rows.clamp(-100, 100) if dtype == "int64" else rows).to(getattr(torch, dtype))
    everything = translations()
    without = {each: how for each, how in everything.items() if each is not operator}
    ours, theirs = (_verdict(case.call, rows, some, dtype) for some in (everything, without))
    both = " (both right)" if ours == theirs == "right" else ""
    print(f"| {name} | {dtype} | {ours} | {theirs}{both} |", flush=True)
    return bool(both)


def _verdict(call: Callable[[Any], Any], rows: Any, table: dict[Any, Any], dtype: str) -> str:
    module = _Called(call).eval()
    try:
        with torch.no_grad(), portable(), redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                module,
                (rows[12:16] if len(rows) > 16 else rows[4:8],),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                opset_version=DYNAMO_OPSET,
                custom_translation_table=table,
                verbose=False,
            )
        session = onnxruntime.InferenceSession(
            program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # whatever an exporter or the runtime raises is the verdict
        return f"refused ({_reason(error)})"
    for count in BATCH_SIZES:
        asked = rows[:count]
        try:
            found = session.run(None, {session.get_inputs()[0].name: asked.numpy()})
        except Exception as error:  # onnxruntime's own classes
            return f"fails on {len(asked)} rows ({_reason(error)})"
        for array, exact in zip(found, _tensors(module(asked)), strict=True):
            if not _alike(array, exact.detach().numpy(), TOLERANCE[dtype]):
                return f"wrong on {len(asked)} rows"
    return "right"


def _tensors(answer: Any) -> list[Any]:
    return [answer] if isinstance(answer, torch.Tensor) else list(answer)


def _alike(found: np.ndarray, exact: np.ndarray, tolerance: float) -> bool:
    if found.shape != exact.shape or found.dtype != exact.dtype:
        return False
    if exact.dtype.kind != "f":
        return np.array_equal(found, exact)
    return np.allclose(found, exact, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return plain(one_line(error)).replace("|", "/")[:90]


if __name__ == "__main__":
    sys.exit(main())
