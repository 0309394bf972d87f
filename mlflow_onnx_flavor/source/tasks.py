"""Tasks of a source worker: the only process that imports a source framework or loads its model.

    load -> reference, answer, rounding  the source's outputs, and their rounding error
    load -> probe                        inputs on which a candidate is likely to differ
    load -> plan -> export -> check      a conversion, strategy by strategy

The loaded model is the module's state: a worker holds one source.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.artifact.open_axes import open_output_axes
from mlflow_onnx_flavor.comparison import pyfunc_output
from mlflow_onnx_flavor.comparison.batches import joined
from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.comparison.rounding import merged, own_rounding
from mlflow_onnx_flavor.comparison.tolerance import roundings_of
from mlflow_onnx_flavor.errors import (
    CorruptModelError,
    MissingFrameworkError,
    OnnxFlavorError,
    one_line,
)
from mlflow_onnx_flavor.frameworks import conversion_warnings
from mlflow_onnx_flavor.frameworks.base import Export, Framework, LoadedSource, Strategy
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.machine.hardware import versions
from mlflow_onnx_flavor.onnx_graph.outputs import as_arrays
from mlflow_onnx_flavor.onnx_graph.precision import arithmetic_of
from mlflow_onnx_flavor.onnx_graph.versions import finish, opset_of
from mlflow_onnx_flavor.schemas.graph import GraphSpec, PredictionPart, PredictionSpec
from mlflow_onnx_flavor.source.batching import answers_in_batches
from mlflow_onnx_flavor.source.probing import probes_of

_loaded: dict[str, Any] = {}


def load(model_path: str, framework: str) -> dict[str, Any]:
    """Load the model in folder ``model_path``; return versions and seconds taken.

    Raises MissingFrameworkError, or CorruptModelError where the framework cannot read it.
    """
    warnings.filterwarnings("ignore")
    frameworks.check_installed(framework)
    begun_ns = time.perf_counter_ns()
    try:
        inside = frameworks.load(framework)
        source = inside.load(Path(model_path), _flavor_of(Path(model_path), framework))
    except ModuleNotFoundError as error:
        raise MissingFrameworkError(
            f"the model needs the module {error.name!r}, which this environment lacks; install what"
            " the model's requirements.txt names"
        ) from error
    except OnnxFlavorError:
        raise
    except Exception as error:  # whatever a framework raises on bytes that it cannot read
        raise CorruptModelError(
            f"{framework} cannot load the model: {type(error).__name__}: {one_line(error)};"
            " log it again"
        ) from error
    _loaded.update(source=source, framework=inside)
    return {
        "versions": versions(frameworks.get(framework).distributions),
        "load_seconds": (time.perf_counter_ns() - begun_ns) / 1e9,
    }


def reference(inputs_path: str, batches: list[list[int]]) -> dict[str, Any]:
    """Return ``{"outputs": [{name: array}]}``: every output of the source, for each of ``batches``.

    A pair of ``batches`` is a batch size and the number of rows, from the first, to run.
    """
    inputs = Inputs.load(Path(inputs_path))
    whole = _asked(inputs)
    answered = [
        whole
        if size >= rows == inputs.rows
        else answers_in_batches(_asked, inputs, size, rows, whole)
        for size, rows in batches
    ]
    return {
        "outputs": [
            {name: _crossing(array) for name, array in outputs.items()} for outputs in answered
        ]
    }


def rounding(inputs_paths: list[str]) -> dict[str, Any]:
    """Return the effect of the source's own rounding error on each output of floats.

    It is the estimate of `comparison.rounding`: ``{name: {"error": scaled error, "basis": "float64"
    or "perturbation"}}``, the largest of those on each of the inputs.
    """
    exactly = _framework().in_float64(_source())
    found = [own_rounding(_asked, exactly, Inputs.load(Path(path))) for path in inputs_paths]
    return {name: asdict(each) for name, each in merged(found).items()}


def probe(inputs_path: str, candidate_path: str, out_path: str, seed: int) -> dict[str, Any]:
    """Write the probes that the source accepts below ``out_path``, and return where they are.

    Returns ``{"probes": [{"path": file, "origin": origin, "kinds": [kind of each row]}]}``; the
    origin is one of `schemas.origins`.
    """

    def ask(some: Inputs) -> dict[str, np.ndarray]:
        if _source().pyfunc is not None:
            _source().pyfunc.predict(some.data)
        return _asked(some)

    taken = probes_of(Inputs.load(Path(inputs_path)), Path(candidate_path), ask, seed)
    return {
        "probes": [
            {
                "path": str(
                    each.inputs.save(Path(out_path) / each.inputs.origin.replace(" ", "_"))
                ),
                "origin": each.inputs.origin,
                "kinds": list(each.kinds),
            }
            for each in taken
        ]
    }


def layers(inputs_path: str) -> dict[str, Any]:
    """Return ``{"layers": {name: array}}``: outputs of the source's layers, where exposed."""
    return {"layers": _framework().layer_outputs(_source(), Inputs.load(Path(inputs_path)))}


def answer(inputs_path: str) -> dict[str, Any]:
    """Return the source's pyfunc output on all rows, as `pyfunc_output.describe` describes it."""
    return pyfunc_output.describe(_source().pyfunc.predict(Inputs.load(Path(inputs_path)).data))


def plan(example_path: str, evaluation_path: str | None = None) -> dict[str, Any]:
    """Return the strategies that the framework would try for this model, in order."""
    strategies = _strategies(example_path, evaluation_path)
    return {
        "description": type(_source().native).__name__,
        "strategies": [
            {
                "name": each.name,
                "why": each.why,
                "exporter": each.exporter,
                "exporter_version": versions((each.exporter,)).get(each.exporter, ""),
            }
            for each in strategies
        ],
    }


def export(
    strategy: str,
    out_path: str,
    example_path: str,
    finishing: dict[str, Any],
    evaluation_path: str | None = None,
) -> dict[str, Any]:
    """Run one strategy and write the graph to ``out_path``.

    Returns the graph spec (JSON), the opset, the seconds taken, and the conversion warnings on rows
    for which the source is ambiguous (``doubts``).

    ``finishing``: the arguments of `onnx_graph.versions.finish`.  ``evaluation_path``: rows beyond
    the example, if there are any.
    """
    strategies = _strategies(example_path, evaluation_path)
    chosen = next(each for each in strategies if each.name == strategy)
    begun_ns = time.perf_counter_ns()
    with conversion_warnings.collected() as told:
        exported = chosen.export(Path(out_path))
    finish(Path(out_path), **finishing)
    seconds = (time.perf_counter_ns() - begun_ns) / 1e9
    example = Inputs.load(Path(example_path))
    spec = GraphSpec(
        feeds=exported.feeds,
        prediction=_observed_prediction(exported, example, open_output_axes(Path(out_path))),
        outputs=exported.outputs,
        classes=_framework().classes(_source()),
    )
    return {
        "graph": spec.model_dump(mode="json"),
        "opset": _opset(Path(out_path)),
        "seconds": seconds,
        "doubts": told,
    }


def check(
    path: str,
    graph: dict[str, Any],
    inputs_path: str,
    batch_sizes: list[int],
    roundings: dict[str, dict[str, Any]],
) -> list[dict]:
    """Run the exported file on the CPU provider and compare it with the source, output by output.

    ``roundings``: the result of `rounding`.  Source and file run batch by batch, since a model may
    branch on the number of rows.  Returns `OutputParity` records (JSON) for every batch size.
    Raises whatever the checker or ONNX Runtime raises on the file.
    """
    import onnx

    from mlflow_onnx_flavor.scoring import open_graph

    onnx.checker.check_model(path)
    session = open_graph(path, graph)
    inputs = Inputs.load(Path(inputs_path))
    arithmetic, known = arithmetic_of(path), roundings_of(roundings)
    found = []
    for batch_size in batch_sizes:
        rows = inputs.take(slice(0, min(inputs.rows, 8 * batch_size)))
        batches = list(rows.batches(batch_size))
        expected = [_asked(batch) for batch in batches]
        answered = [as_arrays(session.run(batch.data), Path(path)) for batch in batches]
        for name in expected[0]:
            if name in answered[0]:
                pair = [
                    joined(name, [part[name] for part in each]) for each in (expected, answered)
                ]
                parity = compare_outputs(name, pair[0], pair[1], arithmetic, known.get(name))
                found.append(parity.model_dump(mode="json"))
    return found


def _framework() -> Framework:
    return _loaded["framework"]


def _source() -> LoadedSource:
    return _loaded["source"]


def _asked(inputs: Inputs) -> dict[str, np.ndarray]:
    """Return every output of the source by name."""
    return _framework().reference_outputs(_source(), inputs)


def _strategies(example_path: str, evaluation_path: str | None) -> list[Strategy]:
    def evaluation() -> Inputs | None:
        return Inputs.load(Path(evaluation_path)) if evaluation_path else None

    return _framework().strategies(_source(), Inputs.load(Path(example_path)), evaluation)


def _observed_prediction(
    exported: Export, example: Inputs, open_axes: Mapping[str, tuple[bool, ...]]
) -> PredictionSpec:
    """Return the form of the source's pyfunc output, observed on the example.

    ``open_axes``: for each output, the axes whose size may differ with other inputs.
    """
    try:
        seen = pyfunc_output.describe(_source().pyfunc.predict(example.data))
    except Exception:  # the pyfunc fails altogether: return every output instead
        return _every_output(exported)
    container, keys, parts = seen["container"], seen["keys"], seen["parts"]
    if container == "list" and keys != [""]:
        return _list_of_outputs(exported, parts, open_axes)
    if container in ("ndarray", "list", "series"):
        return PredictionSpec(
            container=container,
            parts=(_part(exported.prediction[0], parts[0], open_axes, container == "list"),),
            columns=tuple(keys) if container == "series" else (),
            keeps_index=_keeps_index(container, example),
            lengths=exported.lengths,
        )
    if container == "dataframe" and len(exported.prediction) == 1:
        matrix = {**parts[0], "shape": [*parts[0]["shape"], len(keys)]}
        return PredictionSpec(
            container=container,
            parts=(_part(exported.prediction[0], matrix, open_axes, False),),
            columns=tuple(keys),
            keeps_index=_keeps_index(container, example),
        )
    output_of = {exported.keys.get(name, name): name for name in exported.prediction}
    named = tuple(
        _part(output_of[key], part, open_axes, part["type"] == "list", key)
        for key, part in zip(keys, parts, strict=True)
    )
    return PredictionSpec(
        container=container,
        parts=named,
        columns=tuple(keys) if container == "dataframe" else (),
        keeps_index=_keeps_index(container, example),
    )


def _part(
    output: str,
    part: dict[str, Any],
    open_axes: Mapping[str, tuple[bool, ...]],
    as_list: bool,
    key: str = "",
) -> PredictionPart:
    shape = part["shape"]
    varying = open_axes.get(output, ())
    if len(varying) != len(shape):  # the pyfunc does not return the output unchanged
        varying = (False,) * len(shape)
    return PredictionPart(
        output=output,
        dtype=part["dtype"],
        shape=tuple(
            -1 if varies else size for size, varies in zip(shape[1:], varying[1:], strict=True)
        ),
        key=str(key),
        as_list=as_list,
    )


def _list_of_outputs(
    exported: Export, parts: list[dict[str, Any]], open_axes: Mapping[str, tuple[bool, ...]]
) -> PredictionSpec:
    if len(parts) != len(exported.prediction):  # the list is not made of the outputs
        return _every_output(exported)
    made = zip(exported.prediction, parts, strict=True)
    return PredictionSpec(
        container="list",
        parts=tuple(_part(output, part, open_axes, False) for output, part in made),
    )


def _every_output(exported: Export) -> PredictionSpec:
    return PredictionSpec(
        container="dict",
        parts=tuple(
            PredictionPart(output=name, dtype="", shape=(-1,), key=name)
            for name in exported.outputs
        ),
    )


def _keeps_index(container: str, example: Inputs) -> bool:
    """Return whether the output keeps the index of the input, tried with a shifted index."""
    if container not in ("dataframe", "series") or not hasattr(example.data, "index"):
        return False
    data: Any = example.data
    moved = data.set_axis(data.reset_index(drop=True).index + 1000)
    return bool((_source().pyfunc.predict(moved).index == moved.index).all())


def _flavor_of(folder: Path, framework: str) -> dict[str, Any]:
    """Return the configuration of the framework's flavor; empty for a bare ``.onnx`` file."""
    if folder.is_file():
        return {}
    from mlflow.models import Model

    flavors = Model.load(str(folder)).flavors
    return flavors[frameworks.flavor_of(flavors, framework)]


def _crossing(array: np.ndarray) -> np.ndarray:
    return array.astype(object) if array.dtype.kind in "US" else array


def _opset(path: Path) -> int:
    import onnx

    return opset_of(onnx.load(str(path), load_external_data=False))
