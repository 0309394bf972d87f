"""Probes of tensors: constant values, other sizes, tokens at the vocabulary's ends, masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mlflow_onnx_flavor.inputs.probes.columns import NEGATIVE_INTEGERS, UNSEEN_TEXTS

Arrays = Mapping[str, np.ndarray]
Made = Iterator[tuple[str, dict[str, np.ndarray], bool]]

PADDING_ALONE = "a row of padding alone"

_BASES = 4
_MIXED = 32
_NEGATIVE = (-1, -2, -7)


def array_probes(arrays: Arrays, vocabularies: Mapping[str, int], rng: np.random.Generator) -> Made:
    """Yield kind, named arrays with shapes and dtypes of ``arrays``, and whether they are extreme.

    A probe changes one input; the others come from given rows.
    """
    rows = len(next(iter(arrays.values())))
    given = {name: each[rng.permutation(rows)[:_BASES]] for name, each in arrays.items()}
    for name, array in arrays.items():
        for kind, values, extreme in _changed(name, array, given[name], vocabularies, rng):
            yield kind, _beside(given, name, values), extreme
    floats = [name for name, each in arrays.items() if each.dtype.kind == "f"]
    if floats and rows > 1:
        yield "between two rows", _between(arrays, floats, rng), False


def _changed(
    name: str,
    array: np.ndarray,
    given: np.ndarray,
    vocabularies: Mapping[str, int],
    rng: np.random.Generator,
) -> Iterator[tuple[str, np.ndarray, bool]]:
    if _is_mask(name, array):
        yield from _of_masks(given)
    elif array.dtype.kind == "f":
        yield from _of_floats(array, given, rng)
    elif array.dtype.kind in "iu":
        yield from _of_integers(array, given, vocabularies.get(name), rng)
    elif array.dtype.kind in "OU":
        texts = np.resize(np.array(UNSEEN_TEXTS, object), (len(UNSEEN_TEXTS), *array.shape[1:]))
        yield "text never seen", texts, False
        yield "empty text", np.full((1, *array.shape[1:]), "", object), True


def _of_floats(
    array: np.ndarray, given: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, bool]]:
    finite = array[np.isfinite(array)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    mean, spread = (finite.mean(), finite.std()) if finite.size else (0.5, 0.5)
    shape, dtype = array.shape[1:], array.dtype
    flat = [np.full((1, *shape), each, dtype) for each in (0.0, low, high, mean)]
    yield "all of one value", np.concatenate(flat), False
    noise = [rng.normal(mean, spread or 1.0, (4, *shape)), rng.uniform(low, high, (4, *shape))]
    yield "noise", np.concatenate(noise).astype(dtype), False
    turned = [-given, mean + 2 * (given - mean)]
    yield "turned and stretched", np.concatenate(turned).astype(dtype), False
    largest = max(abs(low), abs(high), 1.0)
    with np.errstate(over="ignore"):
        huge = [given * 1e4, np.full((1, *shape), 1e4 * largest), np.full((1, *shape), 1e-40)]
        yield "extreme numbers", np.concatenate(huge).astype(dtype), True
    broken = np.concatenate([given[:1], given[:1], given[:1]])
    broken.reshape(3, -1)[:, 0] = np.nan, np.inf, -np.inf
    yield "missing and infinite", broken, True


def _of_masks(given: np.ndarray) -> Iterator[tuple[str, np.ndarray, bool]]:
    first = np.zeros_like(given)
    first[:, :1] = 1
    yield "masks all on and almost all off", np.concatenate([np.ones_like(given), first]), False
    # Beside others: a source may accept such a row within a batch and refuse it alone.
    yield PADDING_ALONE, np.concatenate([np.zeros_like(given[:1]), given[:2]]), False


def _of_integers(
    array: np.ndarray, given: np.ndarray, vocabulary: int | None, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, bool]]:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 1)
    shape = array.shape[1:]
    ends = {0, low, high} | ({vocabulary - 1} if vocabulary else set())
    yield (
        "tokens of one kind",
        np.stack([np.full(shape, e, array.dtype) for e in sorted(ends)]),
        False,
    )
    top = vocabulary - 1 if vocabulary else high
    bottom = 0 if vocabulary else low
    noise = rng.integers(bottom, top + 1, (8, *shape))
    yield "tokens at random", noise.astype(array.dtype), False
    last = given.copy()
    last.reshape(len(given), -1)[:, -1] = top
    yield "the last token", last, False
    if not vocabulary and array.dtype.kind == "i":
        negative = [np.full(shape, each, array.dtype) for each in _NEGATIVE]
        yield NEGATIVE_INTEGERS, np.concatenate([np.stack(negative), -given]), False


def _beside(given: Arrays, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``values`` as the input ``name``, with as many rows of the other inputs."""
    picked = np.arange(len(values)) % len(next(iter(given.values())))
    return {other: values if other == name else each[picked] for other, each in given.items()}


def _between(arrays: Arrays, floats: list[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    rows = len(next(iter(arrays.values())))
    first, second = (rng.integers(0, rows, _MIXED) for _ in range(2))
    share = rng.uniform(0, 1, _MIXED)
    mixed = {name: each[first] for name, each in arrays.items()}
    for name in floats:
        weight = share.reshape(-1, *[1] * (arrays[name].ndim - 1))
        values = arrays[name][first] * (1 - weight) + arrays[name][second] * weight
        mixed[name] = values.astype(arrays[name].dtype)
    return mixed


def _is_mask(name: str, array: np.ndarray) -> bool:
    if array.dtype.kind == "b":
        return array.ndim > 1
    if "mask" not in name.lower() or array.ndim < 2 or array.dtype.kind not in "iuf":
        return False
    return array.dtype.kind != "f" or bool(np.isin(array, (0, 1)).all())
