"""One-line causes of failed PyTorch exports, with the part of the module that is in the way."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.onnx_graph.exporter_text import plain

_STATIC = re.compile(r"static shape of (\d+) for dimension inputs\[(.+?)\]\.shape\[(\d+)\]")
_MISSING = re.compile(
    r"No ONNX function found for <OpOverload\(op='([\w.:]+)'"
    r"|Exporting the operator '([\w.:]+)' to ONNX"
    r"|^((?:aten|torchvision)\.\w+)\.\w+\s*$",
    re.MULTILINE,
)
_NO_SCRIPT = (
    "log the module itself: a script of nn.TransformerEncoder holds fast paths that ONNX has not"
)
# Advice about an operator without an ONNX form, by a part of the operator's name; the first match
# counts.
_REMEDIES = {
    "autocast": _NO_SCRIPT,
    "nested_tensor": _NO_SCRIPT,
    "sparse": "make the tensors dense with tensor.to_dense() before the model is logged",
    "quantized": "log the float model, which the candidate int8_dynamic quantizes",
    "": "compute it before or after the model, or write it with operators that ONNX has",
}
_PACKED = (
    "the module packs sequences, whose shapes depend on the data; run the layer on the padded rows"
    " and take each row's last step with gather, or log torch.jit.script(module)"
)

_CHECKED_FACTORS = (
    "the module's factorization checks its matrices for errors, which has no ONNX form; use"
    " torch.linalg.inv_ex(A).inverse, solve_ex(A, B).result or cholesky_ex(A).L"
)

# The errors that torch raises when Python code reads the value of a tensor during tracing, where a
# tensor has a shape and a dtype but no values.
_DATA_DEPENDENT = ("GuardOnDataDependentSymNode", "DataDependentOutputException")


def cause_of(error: BaseException, model: Any) -> str:
    """Return the cause in one line, naming the part of ``model`` at fault if it is known."""
    chain = list(_chain(error))
    root = chain[-1]
    text = plain(str(root))
    if type(root).__name__ in _DATA_DEPENDENT:
        return (
            f"{_part(root, model)} asks for the value of a tensor{_code(root)}, so what it does"
            " depends on the data; write it with torch.where or torch.cond"
        )
    if any(map(_packs, chain)):
        return _PACKED
    if isinstance(root, NotExportableError):
        return text
    if "_linalg_check_errors" in text:
        return _CHECKED_FACTORS
    if static := _STATIC.search(text):
        size, name, axis = static.groups()
        return (
            f"the module fixes axis {axis} of {name} at {size}, the example's size; compute with"
            " x.shape in place of a number or a Python loop over the rows"
        )
    if "quantized.LinearPackedParams" in text or "quantized.Conv2dPackedParams" in text:
        return f"there is no ONNX form of PyTorch's quantized layers; {_REMEDIES['quantized']}"
    if missing := _MISSING.search(text):
        where = next(filter(None, map(_node_part, chain)), "")
        operator = next(filter(None, missing.groups()))
        remedy = next(each for part, each in _REMEDIES.items() if part in operator)
        return f"there is no ONNX form of {operator}{f', in {where}' if where else ''}; {remedy}"
    first = next(iter(text.splitlines()), "").partition("  [Caused by")[0].strip()
    return f"{type(root).__name__}: {first}" if first else type(root).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _packs(error: BaseException) -> bool:
    """Return whether a packed sequence was made, unpacked, or run through a recurrent layer."""
    return any(
        frame.f_code.co_name in ("pack_padded_sequence", "pad_packed_sequence")
        or frame.f_locals.get("batch_sizes") is not None
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _part(error: BaseException, model: Any) -> str:
    """Return the qualified name of the innermost module of ``model`` that was running."""
    name_of = {id(module): name for name, module in model.named_modules()}
    found = "the module"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if name_of.get(id(module)):
            found = f"{name_of[id(module)]!r} ({type(module).__name__})"
    return found


def _code(error: BaseException) -> str:
    """Return the innermost line of code outside of torch, as `` (file:line: code)``."""
    outside = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in each.filename and "/mlflow_onnx_flavor/" not in each.filename
    ]
    if not outside:
        return ""
    last = outside[-1]
    file = last.filename.replace("\\", "/").rsplit("/", 1)[-1]
    return f" ({file}:{last.lineno}: {last.line})" if last.line else f" ({file}:{last.lineno})"


def _node_part(error: BaseException) -> str:
    """Return the module that contains the node that the exporter was translating."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        meta = getattr(frame.f_locals.get("node"), "meta", None) or {}
        stack = meta.get("nn_module_stack") if isinstance(meta, dict) else None
        if stack:
            name, kind = list(stack.values())[-1]
            kind = kind if isinstance(kind, str) else kind.__name__
            return f"{name!r} ({kind.rsplit('.', 1)[-1]})" if name else ""
    return ""
