"""The layers of torch.nn, one model each: converted and right at every batch size, or refused."""

from __future__ import annotations

import inspect
import zlib

import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

torch = pytest.importorskip("torch")
nn = torch.nn


class Folded(nn.Module):
    """A layer of several inputs, given parts and functions of one."""

    def __init__(self, layer, parts):
        super().__init__()
        self.layer, self.parts = layer, parts

    def forward(self, rows):
        return self.layer(*self.parts(rows))


def twice(rows):
    return rows, rows.flip(1) * 0.5


def thrice(rows):
    return rows, rows, rows


class Unpooled(nn.Module):
    def __init__(self, pool, unpool):
        super().__init__()
        self.pool, self.unpool = pool, unpool

    def forward(self, rows):
        return self.unpool(*self.pool(rows))


VECTOR, SEQUENCE, IMAGE, VOLUME = (6,), (6, 12), (6, 8, 8), (4, 6, 6, 6)
BATCHED = {"batch_first": True}

# Layer: how it is made, and the shape of a row.
LAYERS = {
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), SEQUENCE),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 4)), IMAGE),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d(2), VOLUME),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(4), SEQUENCE),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), IMAGE),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d(2), VOLUME),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.5), VECTOR),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), SEQUENCE),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    "AvgPool3d": (lambda: nn.AvgPool3d(2, ceil_mode=True), VOLUME),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), SEQUENCE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(6), IMAGE),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(4), VOLUME),
    "Bilinear": (lambda: Folded(nn.Bilinear(6, 6, 3), twice), VECTOR),
    "CELU": (lambda: nn.CELU(0.7), VECTOR),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(3), IMAGE),
    "CircularPad1d": (lambda: nn.CircularPad1d((1, 2)), SEQUENCE),
    "CircularPad2d": (lambda: nn.CircularPad2d((1, 2, 0, 3)), IMAGE),
    "CircularPad3d": (lambda: nn.CircularPad3d(1), VOLUME),
    "ConstantPad1d": (lambda: nn.ConstantPad1d((1, 2), 3.5), SEQUENCE),
    "ConstantPad2d": (lambda: nn.ConstantPad2d((1, 0, 2, 1), -1.0), IMAGE),
    "ConstantPad3d": (lambda: nn.ConstantPad3d(1, 0.5), VOLUME),
    "Conv1d": (lambda: nn.Conv1d(6, 4, 3, 2, dilation=2), SEQUENCE),
    "Conv2d": (lambda: nn.Conv2d(6, 6, 3, padding="same", groups=3), IMAGE),
    "Conv3d": (lambda: nn.Conv3d(4, 3, 3, padding_mode="circular", padding=1), VOLUME),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(6, 4, 3, 2, output_padding=1), SEQUENCE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(6, 4, 3, 2, 1), IMAGE),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(4, 3, 2, 2), VOLUME),
    "CosineSimilarity": (lambda: Folded(nn.CosineSimilarity(dim=1), twice), SEQUENCE),
    "Dropout": (lambda: nn.Dropout(0.5), VECTOR),
    "Dropout1d": (lambda: nn.Dropout1d(0.5), SEQUENCE),
    "Dropout2d": (lambda: nn.Dropout2d(0.5), IMAGE),
    "Dropout3d": (lambda: nn.Dropout3d(0.5), VOLUME),
    "ELU": (lambda: nn.ELU(0.3), VECTOR),
    "Embedding": (lambda: nn.Embedding(20, 4, padding_idx=0), "tokens"),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(20, 4, mode="mean"), "tokens"),
    "FeatureAlphaDropout": (lambda: nn.FeatureAlphaDropout(0.5), IMAGE),
    "Flatten": (lambda: nn.Flatten(), IMAGE),
    "Fold": (lambda: nn.Fold((4, 4), 2, stride=2), (24, 4)),
    "GELU": (lambda: nn.GELU("tanh"), VECTOR),
    "GLU": (lambda: nn.GLU(1), SEQUENCE),
    "GRU": (lambda: nn.GRU(12, 5, 2, bidirectional=True, **BATCHED), SEQUENCE),
    "GRUCell": (lambda: nn.GRUCell(6, 5), VECTOR),
    "GroupNorm": (lambda: nn.GroupNorm(3, 6), IMAGE),
    "Hardshrink": (lambda: nn.Hardshrink(), VECTOR),
    "Hardsigmoid": (lambda: nn.Hardsigmoid(), VECTOR),
    "Hardswish": (lambda: nn.Hardswish(), VECTOR),
    "Hardtanh": (lambda: nn.Hardtanh(-0.4, 0.6), VECTOR),
    "Identity": (lambda: nn.Identity(), VECTOR),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(6, affine=True), SEQUENCE),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(6, track_running_stats=True), IMAGE),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(4), VOLUME),
    "LPPool1d": (lambda: nn.LPPool1d(2, 3), SEQUENCE),
    "LPPool2d": (lambda: nn.LPPool2d(2, 3), IMAGE),
    "LPPool3d": (lambda: nn.LPPool3d(2, 3), VOLUME),
    "LSTM": (lambda: nn.LSTM(12, 5, 2, bidirectional=True, **BATCHED), SEQUENCE),
    "LSTMCell": (lambda: nn.LSTMCell(6, 5), VECTOR),
    "LayerNorm": (lambda: nn.LayerNorm(12), SEQUENCE),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), VECTOR),
    "Linear": (lambda: nn.Linear(6, 3), VECTOR),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), IMAGE),
    "LogSigmoid": (lambda: nn.LogSigmoid(), VECTOR),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), VECTOR),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1, dilation=2), SEQUENCE),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), IMAGE),
    "MaxPool3d": (lambda: nn.MaxPool3d(2), VOLUME),
    "MaxUnpool1d": (
        lambda: Unpooled(nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)),
        SEQUENCE,
    ),
    "MaxUnpool2d": (
        lambda: Unpooled(nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)),
        IMAGE,
    ),
    "MaxUnpool3d": (
        lambda: Unpooled(nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2)),
        VOLUME,
    ),
    "Mish": (lambda: nn.Mish(), VECTOR),
    "MultiheadAttention": (
        lambda: Folded(nn.MultiheadAttention(12, 3, **BATCHED), thrice),
        SEQUENCE,
    ),
    "PReLU": (lambda: nn.PReLU(6), IMAGE),
    "PairwiseDistance": (lambda: Folded(nn.PairwiseDistance(), twice), VECTOR),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (8, 3, 3)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "RMSNorm": (lambda: nn.RMSNorm(12), SEQUENCE),
    "RNN": (lambda: nn.RNN(12, 5, nonlinearity="relu", **BATCHED), SEQUENCE),
    "RNNCell": (lambda: nn.RNNCell(6, 5), VECTOR),
    "RReLU": (lambda: nn.RReLU(), VECTOR),
    "ReLU": (lambda: nn.ReLU(), VECTOR),
    "ReLU6": (lambda: nn.ReLU6(), VECTOR),
    "ReflectionPad1d": (lambda: nn.ReflectionPad1d((1, 2)), SEQUENCE),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d((1, 0, 2, 1)), IMAGE),
    "ReflectionPad3d": (lambda: nn.ReflectionPad3d(1), VOLUME),
    "ReplicationPad1d": (lambda: nn.ReplicationPad1d((1, 2)), SEQUENCE),
    "ReplicationPad2d": (lambda: nn.ReplicationPad2d((1, 0, 2, 1)), IMAGE),
    "ReplicationPad3d": (lambda: nn.ReplicationPad3d(1), VOLUME),
    "SELU": (lambda: nn.SELU(), VECTOR),
    "Sequential": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh()), VECTOR),
    "SiLU": (lambda: nn.SiLU(), VECTOR),
    "Sigmoid": (lambda: nn.Sigmoid(), VECTOR),
    "Softmax": (lambda: nn.Softmax(1), VECTOR),
    "Softmax2d": (lambda: nn.Softmax2d(), IMAGE),
    "Softmin": (lambda: nn.Softmin(1), VECTOR),
    "Softplus": (lambda: nn.Softplus(2.0), VECTOR),
    "Softshrink": (lambda: nn.Softshrink(0.3), VECTOR),
    "Softsign": (lambda: nn.Softsign(), VECTOR),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(6), IMAGE),
    "Tanh": (lambda: nn.Tanh(), VECTOR),
    "Tanhshrink": (lambda: nn.Tanhshrink(), VECTOR),
    "Threshold": (lambda: nn.Threshold(0.1, -2.0), VECTOR),
    "Transformer": (
        lambda: Folded(nn.Transformer(12, 3, 1, 1, 16, **BATCHED), twice),
        SEQUENCE,
    ),
    "TransformerDecoder": (
        lambda: Folded(
            nn.TransformerDecoder(nn.TransformerDecoderLayer(12, 3, 16, **BATCHED), 2), twice
        ),
        SEQUENCE,
    ),
    "TransformerDecoderLayer": (
        lambda: Folded(nn.TransformerDecoderLayer(12, 3, 16, **BATCHED), twice),
        SEQUENCE,
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 3, 16, **BATCHED), 2),
        SEQUENCE,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(12, 3, 16, norm_first=True, **BATCHED),
        SEQUENCE,
    ),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 3)), SEQUENCE),
    "Unfold": (lambda: nn.Unfold(2, stride=2), IMAGE),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=3), IMAGE),
    "ZeroPad1d": (lambda: nn.ZeroPad1d(2), SEQUENCE),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 0, 2, 1)), IMAGE),
    "ZeroPad3d": (lambda: nn.ZeroPad3d(1), VOLUME),
}

# Not models of their own: containers, bases, what draws lots in eval mode as well, what becomes
# another class on its first input.  Losses are for training.
NO_LAYERS = {
    *("Container", "DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict"),
    *("ParameterList", "RNNBase", "RNNCellBase"),
    *("FractionalMaxPool2d", "FractionalMaxPool3d"),
}

# A sample of each kind for every run of the tests; all of them with `make sweep`.
SAMPLE = ("CircularPad2d", "ConvTranspose1d", "EmbeddingBag", "LPPool2d", "PixelShuffle")


# An autograd function of its own, written before torch.nn.LocalResponseNorm did the same.
REFUSED = {"CrossMapLRN2d": (lambda: nn.CrossMapLRN2d(3), IMAGE)}


def rows_for(shape, count):
    rng = np.random.default_rng(count)
    if shape == "tokens":
        return rng.integers(0, 20, (count, 7))
    return rng.standard_normal((count, *shape)).astype(np.float32)


def convert(layer, example, folder):
    mlflow.pytorch.save_model(
        layer,
        str(folder / "source"),
        signature=mlflow.models.infer_signature(example),
        input_example=example,
        serialization_format="pickle",
        pip_requirements=[],
    )
    return converted(folder / "source", "pytorch", Inputs(example), None, folder / "out")[0]


def check(name, folder):
    torch.manual_seed(zlib.crc32(name.encode()))
    make, shape = LAYERS[name]
    layer = make().eval()
    session = session_of(convert(layer, rows_for(shape, 4), folder))
    for count in (1, 3, 33):
        asked = rows_for(shape, count)
        with torch.no_grad():
            answer = layer(torch.from_numpy(asked))
        expected = answer[0] if isinstance(answer, tuple) else answer
        found = next(iter(session.run(asked).values()))
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_layer_of_torch_is_right(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(LAYERS) - set(SAMPLE)))
def test_every_layer_of_torch_is_right(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_layer_that_no_exporter_takes_is_refused(name, tmp_path):
    make, shape = REFUSED[name]
    with pytest.raises(ConversionError, match="dynamo: failed"):
        convert(make().eval(), rows_for(shape, 4), tmp_path)


def test_no_layer_of_torch_is_left_out():
    found = {
        name
        for name, kind in vars(nn).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module)
    }
    layers = {name for name in found if "Loss" not in name and not name.startswith("Lazy")}
    assert layers - NO_LAYERS == set(LAYERS) | set(REFUSED)
