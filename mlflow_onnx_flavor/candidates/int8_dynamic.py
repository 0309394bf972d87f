"""Dynamic quantization: int8 weights, activations quantized at run time; nothing to calibrate."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, CandidateError

name = "int8_dynamic"

# What onnxruntime's dynamic quantization knows; anything else stays as it is.
_QUANTIZABLE = frozenset(
    {"MatMul", "Gemm", "Conv", "Attention", "LSTM", "Gather", "EmbedLayerNormalization"}
)
_QUANTIZED = frozenset(
    {
        "MatMulInteger",
        "DynamicQuantizeMatMul",
        "ConvInteger",
        "QAttention",
        "DynamicQuantizeLSTM",
        "DequantizeLinear",
        "QEmbedLayerNormalization",
    }
)


def build(converted: Path, out: Path) -> Built:
    """Quantize the weights; CandidateError where no operator has weights to quantize."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found = Counter(
        node.op_type for node in onnx.load(str(converted), load_external_data=False).graph.node
    )
    if not _QUANTIZABLE & set(found):
        most = ", ".join(name for name, _ in found.most_common(3))
        raise CandidateError(f"nothing to quantize: the graph is {most}, without matrix products")
    logging.disable(logging.WARNING)  # it recommends preprocessing, for shapes that we have
    quantize_dynamic(str(converted), str(out), weight_type=QuantType.QInt8)
    quantized = [
        node.op_type
        for node in onnx.load(str(out), load_external_data=False).graph.node
        if node.op_type in _QUANTIZED
    ]
    if not quantized:
        raise CandidateError("nothing to quantize: no operator has constant float32 weights")
    return Built(f"int8 weights in {len(quantized)} operators, activations quantized as they come")
