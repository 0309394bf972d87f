"""Merging: two comparisons of the same outputs on different rows become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlflow_onnx_flavor.schemas.evidence import OutputParity

_ADDED = ("rows", "label_disagreements", "label_ties", "nonfinite_mismatches")
_LARGEST = (
    "max_absolute_error",
    "max_relative_error",
    # Taken from batches, this is at least the value over all rows together.
    "p999_absolute_error",
    "p999_relative_error",
)


def merged(
    first: Sequence[OutputParity], second: Sequence[OutputParity]
) -> tuple[OutputParity, ...]:
    """Return ``first`` with the rows of ``second`` added; its scale and tolerance stay."""
    return tuple(_merged(*pair) for pair in zip(first, second, strict=True))


def _merged(first: OutputParity, second: OutputParity) -> OutputParity:
    fields = {name: getattr(first, name) + getattr(second, name) for name in _ADDED}
    fields |= {name: max(getattr(first, name), getattr(second, name)) for name in _LARGEST}
    above = zip(first.rows_above, second.rows_above, strict=True)
    return first.model_copy(
        update=fields
        | {
            "source_shape": _longer(first.source_shape, second.source_shape),
            "candidate_shape": _longer(first.candidate_shape, second.candidate_shape),
            "rows_above": tuple(sum(pair) for pair in above),
            "max_divergence": _extreme(max, first.max_divergence, second.max_divergence),
            "max_confidence_shift": _extreme(
                max, first.max_confidence_shift, second.max_confidence_shift
            ),
            "min_cosine": _extreme(min, first.min_cosine, second.min_cosine),
        }
    )


def _longer(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """Add up the rows of two shapes; keep the difference visible if a row's shape differs."""
    same = len(first) and len(second) and first[1:] == second[1:]
    return (first[0] + second[0], *first[1:]) if same else second


def _extreme(pick: Callable[..., float], first: float | None, second: float | None) -> float | None:
    known = [each for each in (first, second) if each is not None]
    return pick(known) if known else None
