"""PyTorch's factorizations of small matrices, unrolled: inverse, solve, determinant, Cholesky."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    INT32,
    fixed_size,
    integers,
    like,
    op,
    part,
)

# The most rows that are unrolled: each row of the matrix adds some fifteen nodes to the graph.
_MOST_ROWS = 16


def linalg_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.linalg_inv_ex.default: _inverse,
        aten._linalg_solve_ex.default: _solve,
        aten._linalg_slogdet.default: _slogdet,
        aten.linalg_cholesky_ex.default: _cholesky,
        aten.cholesky_solve.default: _cholesky_solve,
        aten.linalg_solve_triangular.default: _solve_triangular,
    }


def _inverse(A, check_errors=False):
    size = _rows(A)
    found, _ = _eliminated(A, _identity(A, size), size)
    return found, _no_error(A)


def _solve(A, B, left=True, check_errors=False):
    """Return the solution, and placeholders for the factors, which PyTorch's callers do not use."""
    size = _rows(A)
    vector = len(B.shape) == 1 or len(B.shape) == len(A.shape) - 1
    rank, given = len(A.shape), A
    if vector:
        B = op.Unsqueeze(B, [-1])
    if not left:
        A, B = _transposed(A, rank), _transposed(B, rank)
    found, _ = _eliminated(A, B, size)
    if not left:
        found = _transposed(found, rank)
    found = op.Squeeze(found, [-1]) if vector else found
    return found, op.Identity(given), _no_error(given), _no_error(given)


def _slogdet(A):
    size = _rows(A)
    _, pivots = _eliminated(A, part(A, 0, 1, -1), size)
    sign, logarithm = op.Sign(pivots[0]), op.Log(op.Abs(pivots[0]))
    for each in pivots[1:]:
        sign = op.Mul(sign, op.Sign(each))
        logarithm = op.Add(logarithm, op.Log(op.Abs(each)))
    squeezed = [op.Squeeze(each, [-2, -1]) for each in (sign, logarithm)]
    return (*squeezed, op.Identity(A), _no_error(A))


def _cholesky(self, upper=False, check_errors=False):
    size = _rows(self)
    rows = [
        [part(part(self, i, i + 1, -2), j, j + 1, -1) for j in range(size)] for i in range(size)
    ]
    zero = op.Mul(rows[0][0], like(0.0, self))
    found = [[zero] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = rows[i][j]
            for k in range(j):
                rest = op.Sub(rest, op.Mul(found[i][k], found[j][k]))
            found[i][j] = op.Sqrt(rest) if i == j else op.Div(rest, found[j][j])
    if upper:
        found = [list(column) for column in zip(*found, strict=True)]
    lines = [op.Concat(*line, axis=-1) for line in found]
    return op.Concat(*lines, axis=-2), _no_error(self)


def _solve_triangular(self, B, upper, left=True, unitriangular=False):
    size = _rows(self)
    if left:
        return _substituted(self, B, size, upper, unitriangular)
    A, right = _transposed(self, len(self.shape)), _transposed(B, len(B.shape))
    return _transposed(_substituted(A, right, size, not upper, unitriangular), len(B.shape))


def _cholesky_solve(self, input2, upper=False):
    """Return the solution for the matrix whose Cholesky factor is ``input2``."""
    size = _rows(input2)
    other = _transposed(input2, len(input2.shape))
    lower, higher = (other, input2) if upper else (input2, other)
    return _substituted(higher, _substituted(lower, self, size, False), size, True)


def _substituted(A, B, size, upper, unitriangular=False):
    """Return the solution for a triangular matrix, by forward or back substitution."""
    found: dict[int, Any] = {}
    for row in reversed(range(size)) if upper else range(size):
        line, rest = part(A, row, row + 1, -2), part(B, row, row + 1, -2)
        for column, known in found.items():
            rest = op.Sub(rest, op.Mul(part(line, column, column + 1, -1), known))
        found[row] = rest if unitriangular else op.Div(rest, part(line, row, row + 1, -1))
    return op.Concat(*(found[row] for row in range(size)), axis=-2)


def _eliminated(A, B, size):
    """Return the solution of A X = B by Gauss-Jordan elimination, and the pivots.

    The largest entry of each column is the pivot (partial pivoting).  A pivot changes its sign if
    its row was swapped, so that the product of the pivots is the determinant.
    """
    numbers = op.Reshape(op.Constant(value_ints=list(range(size))), integers(size, 1))
    whole = op.Concat(A, B, axis=-1)
    width = op.Shape(whole)
    one, pivots = like(1.0, A), []
    for step in range(size):
        column = op.Abs(part(whole, step, step + 1, -1))
        open_ = op.Where(op.Less(numbers, integers(step)), like(-1.0, A), column)
        place = op.ArgMax(open_, axis=-2, keepdims=1)
        line = op.Concat(part(width, 0, -2, 0), integers(1), part(width, -1, 2**31, 0), axis=0)
        chosen = op.GatherElements(whole, op.Expand(place, line), axis=-2)
        here = part(whole, step, step + 1, -2)
        whole = op.Where(op.Equal(numbers, place), here, whole)
        pivot = part(chosen, step, step + 1, -1)
        turned = op.Where(op.Equal(place, integers(step)), one, op.Neg(one))
        pivots.append(op.Mul(pivot, turned))
        scaled = op.Div(chosen, pivot)
        cleared = op.Sub(whole, op.Mul(part(whole, step, step + 1, -1), scaled))
        whole = op.Where(op.Equal(numbers, integers(step)), scaled, cleared)
    return part(whole, size, 2**31, -1), pivots


def _rows(A) -> int:
    size = fixed_size(A, -1, "a factorization")
    if size > _MOST_ROWS:
        raise NotExportableError(
            f"there is no ONNX form of a factorization of {size} x {size} matrices, only of up to"
            f" {_MOST_ROWS} rows; compute it before or after the model"
        )
    return size


def _identity(A, size):
    ones = [float(i == j) for i in range(size) for j in range(size)]
    eye = like(op.Reshape(op.Constant(value_floats=ones), integers(size, size)), A)
    return op.Expand(eye, op.Shape(A))


def _transposed(x, rank):
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


def _no_error(A):
    """Return PyTorch's tensor of error codes, of shape (...): zeros, no error."""
    first = part(part(A, 0, 1, -1), 0, 1, -2)
    return op.Cast(op.Mul(op.Squeeze(first, [-2, -1]), like(0.0, A)), to=INT32)
