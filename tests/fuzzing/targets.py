"""The readers of foreign files, each given any bytes: an answer, or one of our own errors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.artifact.graph_inference import infer_graph
from mlflow_onnx_flavor.configuration_file import defaults_as_yaml, read_configuration
from mlflow_onnx_flavor.errors import OnnxFlavorError
from mlflow_onnx_flavor.gates import judge
from mlflow_onnx_flavor.inputs.readers.evaluation import read_evaluation_data
from mlflow_onnx_flavor.onnx_graph.files import copy_model
from mlflow_onnx_flavor.onnx_graph.operators import count_operators
from mlflow_onnx_flavor.onnx_graph.precision import arithmetic_of
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence, Verdict
from mlflow_onnx_flavor.source.model import read_metadata
from tests.onnx_graphs import adding_weights, doubling, side_by_side

SAMPLES = Path(__file__).parent.parent / "samples" / "evidence"


def onnx_file(content: bytes, folder: Path) -> None:
    """As when a model is logged: structure, weights beside it, types, operators, inputs."""
    file = folder / "model.onnx"
    file.write_bytes(content)
    with suppress(OnnxFlavorError):
        structure = copy_model(file, folder / "copy.onnx")
        arithmetic_of(file)
        count_operators(file)
        infer_graph(structure, None)


def mlmodel_file(content: bytes, folder: Path) -> None:
    """As when a URI is resolved."""
    (folder / "MLmodel").write_bytes(content)
    with suppress(OnnxFlavorError):
        read_metadata(folder, "models:/fuzzed/1")


def evidence_file(content: bytes, _folder: Path) -> None:
    """As when a version is promoted: read, and judged again.

    Evidence that is whole but for one value: ``content`` says which, and what it becomes.
    """
    places = list(_places(_EVIDENCE))
    path = places[int.from_bytes(content[:2], "big") % len(places)]
    text = content[2:].decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    try:
        evidence = ReleaseEvidence.model_validate_json(json.dumps(_with(_EVIDENCE, path, value)))
    except ValidationError:
        return
    judge(evidence, _GATES)


def _table_file(suffix: str) -> Callable[[bytes, Path], None]:
    """As when evaluation data is read, without a signature."""

    def read(content: bytes, folder: Path) -> None:
        file = folder / f"rows{suffix}"
        file.write_bytes(content)
        with suppress(OnnxFlavorError):
            read_evaluation_data(str(file), None)

    return read


def _configuration_file(suffix: str) -> Callable[[bytes, Path], None]:
    """As when a release is begun."""

    def read(content: bytes, folder: Path) -> None:
        file = folder / f"release{suffix}"
        file.write_bytes(content)
        with suppress(OnnxFlavorError):
            read_configuration(file)

    return read


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "onnx": onnx_file,
    "mlmodel": mlmodel_file,
    "evidence": evidence_file,
    **{name: _table_file(f".{name}") for name in ("npz", "npy", "csv", "parquet")},
    **{name: _configuration_file(f".{name}") for name in ("yaml", "json")},
}


def seeds(target: str) -> Iterator[bytes]:
    """Whole files to begin with."""
    if target == "evidence":
        # Every value once as another number.
        for place in range(len(list(_places(_EVIDENCE)))):
            yield place.to_bytes(2, "big") + (b"-1", b"1e999")[place % 2]
    elif target in ("yaml", "json"):
        values = Configuration().model_dump(mode="json")
        yield (json.dumps(values) if target == "json" else defaults_as_yaml()).encode()
        yield (b"[" * 200, b"a: &a [1]\nb: [*a, *a]\n")[target == "yaml"]
    elif target not in ("onnx", "mlmodel"):
        yield from _tables(target)
    else:
        with tempfile.TemporaryDirectory() as folder:
            files = [
                make(Path(folder) / f"{make.__name__}.onnx")
                for make in (doubling, side_by_side, adding_weights)
            ]
            if target == "onnx":
                yield from (file.read_bytes() for file in files)
            else:
                flavor.save_model(str(files[0]), f"{folder}/model", pip_requirements=[])
                yield Path(folder, "model", "MLmodel").read_bytes()


def _tables(suffix: str) -> Iterator[bytes]:
    """Small tables, as their own libraries write them."""
    rows = pd.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"rows.{suffix}")
        match suffix:
            case "npz":
                np.savez_compressed(file, a=rows["a"].to_numpy(), b=np.array(["x", "y"]))
            case "npy":
                np.save(file, np.arange(6.0).reshape(3, 2))
            case "csv":
                rows.to_csv(file, index=False)
            case "parquet":
                rows.to_parquet(file)
        yield file.read_bytes()


_EVIDENCE = json.loads((SAMPLES / "evidence-1.json").read_text())
_GATES = Verdict.model_validate_json((SAMPLES / "verdict-1.json").read_text()).gates


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value within a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from _places(each, (*path, key))


def _with(document: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _with(document[path[0]], path[1:], value)
    return copy
