"""What PyTorch's exporters give up over is said in one sentence, with what to do about it."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
import torch
from torch import nn

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted

VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
SEQUENCES = {
    "x": np.random.default_rng(1).normal(size=(6, 3, 4)).astype(np.float32),
    "lengths": np.array([3, 1, 2, 3, 2, 1]),
}


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(4, 5, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        return self.cell(packed)[1][-1]


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 1)

    def forward(self, x):
        return self.inner(x).squeeze()


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("edges", torch.eye(4).to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.edges, x.T).T


class Pooled(nn.Module):
    """Whose divisor PyTorch's exporter leaves out."""

    def forward(self, x):
        return nn.functional.avg_pool2d(x.unsqueeze(1), 2, divisor_override=3)


def quantized():
    layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    return torch.ao.quantization.quantize_dynamic(layers, {nn.Linear})


def scripted_encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return torch.jit.script(nn.TransformerEncoder(layer, 1).eval())


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
@pytest.mark.parametrize(
    ("make", "rows", "cause"),
    [
        (Packed, SEQUENCES, "packs sequences, .*; run the layer on the padded rows"),
        (Squeezed, VECTORS, "a batch of 1, 'output' is one number .*as squeeze.-1. does"),
        (Graph, VECTORS, "no ONNX form of aten._sparse_addmm; make the tensors dense"),
        (Pooled, SEQUENCES["x"], "for the example itself: the exporter mistakes one of its operat"),
        (scripted_encoder, SEQUENCES["x"], "is_autocast_enabled; log the module itself"),
        (quantized, VECTORS, "PyTorch's quantized layers; log the float model"),
    ],
)
def test_a_refusal_says_what_to_do(make, rows, cause, tmp_path):
    mlflow.pytorch.save_model(
        make().eval(),
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(rows),
        serialization_format="pickle",
        pip_requirements=[],
    )
    with pytest.raises(ConversionError, match=cause):
        converted(tmp_path / "source", "pytorch", Inputs(rows), None, tmp_path / "out")


def test_a_program_that_was_made_in_train_mode_is_refused_with_what_to_do(tmp_path):
    mlflow.pytorch.save_model(
        nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5)).train(),
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(VECTORS),
        input_example=VECTORS,
        serialization_format="pt2",
        pip_requirements=[],
    )
    with pytest.raises(ConversionError, match="from call to call; a pt2 program .*module.eval"):
        converted(tmp_path / "source", "pytorch", Inputs(VECTORS), None, tmp_path / "out")
