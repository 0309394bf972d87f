"""The nets that come with Keras, of random weights: slow, `make sweep`."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

NETS = {  # by the smallest picture that each takes
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "DenseNet121": 32,
    "ResNet50V2": 32,
    "ConvNeXtTiny": 32,
    "NASNetMobile": 32,
    "VGG16": 32,
    "Xception": 71,
    "InceptionV3": 75,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_a_net_of_keras_is_right(name, tmp_path):
    keras.utils.set_random_seed(0)
    size = NETS[name]
    net = getattr(keras.applications, name)(
        weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
    )
    pictures = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)
    mlflow.tensorflow.save_model(
        net,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(pictures),
        pip_requirements=[],
    )
    conversion, _ = converted(
        tmp_path / "source", "tensorflow", Inputs(pictures[:2]), Inputs(pictures), tmp_path / "out"
    )
    session = session_of(conversion)
    expected = net(pictures, training=False).numpy()
    scale = np.sqrt(np.mean(expected**2))
    np.testing.assert_allclose(session.predict(pictures), expected, atol=1.2e-4 * scale)
