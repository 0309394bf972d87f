"""Edits to an exporter's graph: stable output names, and only the outputs that have a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

STANDARD_OPSET = 15


def save(
    model: onnx.ModelProto,
    path: Path,
    outputs: Mapping[str, str],
    inputs: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Write ``model`` with the graph outputs ``outputs`` (name in the graph -> new name).

    Outputs that are not named are dropped; ``inputs`` renames graph inputs alike.  Returns the
    names of the outputs in the graph's order.
    """
    import onnx

    if all(each.domain for each in model.opset_import):
        # Only ai.onnx.ml is used; onnxruntime still requires the version of the standard operators.
        model.opset_import.append(onnx.helper.make_opsetid("", STANDARD_OPSET))
    _import_each_domain_once(model)
    _use_common_locale(model.graph)
    kept = [each for each in model.graph.output if each.name in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    names = {**outputs, **(inputs or {})}
    _rename(model.graph, {old: new for old, new in names.items() if old != new})
    onnx.save_model(model, str(path))
    return tuple(each.name for each in model.graph.output)


def append_column(model: onnx.ModelProto, matrix: str, column: int, output: str) -> None:
    """Add the graph output ``output``, shape (rows,): column ``column`` of output ``matrix``."""
    from onnx import helper

    typed = next(each for each in model.graph.output if each.name == matrix)
    element = typed.type.tensor_type.elem_type
    model.graph.initializer.append(
        helper.make_tensor(f"{output}_column", 7, [], np.array([column], np.int64))  # 7: int64
    )
    model.graph.node.append(
        helper.make_node("Gather", [matrix, f"{output}_column"], [output], axis=1)
    )
    model.graph.output.append(helper.make_tensor_value_info(output, element, [None]))


def append_flattened(model: onnx.ModelProto, column: str, output: str) -> None:
    """Add the graph output ``output``, shape (rows,): the output ``column`` of shape (rows, 1)."""
    from onnx import helper

    typed = next(each for each in model.graph.output if each.name == column)
    element = typed.type.tensor_type.elem_type
    model.graph.initializer.append(
        helper.make_tensor(f"{output}_shape", 7, [1], np.array([-1], np.int64))  # 7: int64
    )
    model.graph.node.append(helper.make_node("Reshape", [column, f"{output}_shape"], [output]))
    model.graph.output.append(helper.make_tensor_value_info(output, element, [None]))


def answer_as(model: onnx.ModelProto, found: str, output: str, ndim: int) -> dict[str, str]:
    """Return the renaming that makes ``found`` the output ``output`` with ``ndim`` axes.

    Exporters return one number a row as (rows, 1) if the framework returns (rows,).
    """
    if ndim != 1:
        if any(each.name == found for each in model.graph.input):  # an input that is an output too
            return {_copied(model, found, output): output}
        return {found: output}
    append_flattened(model, found, output)
    return {output: output}


def _copied(model: onnx.ModelProto, value: str, output: str) -> str:
    """Add the graph output ``output``, a copy of the graph input ``value``."""
    from onnx import helper

    model.graph.node.append(helper.make_node("Identity", [value], [output]))
    typed = next(each for each in model.graph.output if each.name == value)
    copy = type(typed)()
    copy.CopyFrom(typed)
    copy.name = output
    model.graph.output.append(copy)
    return output


@contextmanager
def plain_attributes() -> Iterator[None]:
    """Let exporters pass numpy values to `onnx.helper.make_attribute`.

    skl2onnx's HistGradientBoosting converter passes arrays, np.uint32 and booleans among integers
    as attributes, which onnx refuses.  The function is put back afterwards.
    """
    from onnx import helper

    original = helper.make_attribute

    def make_attribute(key: str, value: Any, *arguments: Any, **options: Any):
        return original(key, _plain(value), *arguments, **options)

    helper.make_attribute = make_attribute
    try:
        yield
    finally:
        helper.make_attribute = original


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, bool) else value


def _import_each_domain_once(model: onnx.ModelProto) -> None:
    """Remove duplicate opset imports.

    skl2onnx sometimes imports the standard operators twice, which other tools reject.
    """
    newest: dict[str, int] = {}
    for each in model.opset_import:
        newest[each.domain] = max(each.version, newest.get(each.domain, 0))
    if len(newest) < len(model.opset_import):
        del model.opset_import[:]
        for domain, version in newest.items():
            model.opset_import.add(domain=domain, version=version)


def _use_common_locale(graph: onnx.GraphProto) -> None:
    """Set StringNormalizer's locale to C.UTF-8, which every Linux image has.

    onnxruntime uses en_US.UTF-8 by default, and slim images lack it: the model would not load where
    it is served.
    """
    from onnx import helper

    for node in graph.node:
        if node.op_type == "StringNormalizer":
            others = [each for each in node.attribute if each.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*others, helper.make_attribute("locale", "C.UTF-8")])


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values; first rename other values that have a new name already."""
    if not names:
        return
    taken = {name for node in graph.node for name in node.output} & set(names.values())
    _replace(graph, {name: f"{name}_inner" for name in taken - set(names)})
    _replace(graph, names)


def _replace(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        _replace_in(node.input, names)
        _replace_in(node.output, names)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _replace(inner, names)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _replace_in(values: MutableSequence[str], names: Mapping[str, str]) -> None:
    for position, value in enumerate(values):
        if value in names:
            values[position] = names[value]
