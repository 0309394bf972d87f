"""Dynamic quantization: int8 weights, activations quantized at run time, no calibration."""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, CandidateError, Measuring
from mlflow_onnx_flavor.onnx_graph.external_data import MAX_INLINE_BYTES, total_bytes
from mlflow_onnx_flavor.onnx_graph.operators import count_operators

name = "int8_dynamic"

# Operators that onnxruntime's dynamic quantization supports; all others stay unchanged.
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


def build(converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
    """Quantize the weights; raise CandidateError where no operator has weights to quantize."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = count_operators(converted)
    if not any(operator in _QUANTIZABLE for _, operator in before):
        most = ", ".join(operator for (_, operator), _ in before.most_common(3))
        raise CandidateError(f"nothing to quantize: the graph is {most}, without matrix products")
    logging.disable(logging.WARNING)  # it recommends shape inference, already done
    quantize_dynamic(
        str(converted),
        str(out),
        weight_type=QuantType.QInt8,
        use_external_data_format=total_bytes(converted) > MAX_INLINE_BYTES,
        extra_options={"EnableSubgraph": True},
    )
    # A model may have had quantized operators before: only new ones count.
    added = count_operators(out) - before
    quantized = sum(number for (_, operator), number in added.items() if operator in _QUANTIZED)
    if not quantized:
        raise CandidateError("nothing to quantize: no operator has constant float32 weights")
    return Built(f"int8 weights in {quantized} operators, activations quantized as they come")
