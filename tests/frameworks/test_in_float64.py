"""A source computed in float64: the truth that its rounding is measured against."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.source import tasks as source_worker
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import TEXTS, as_frame, save_pipeline, small_config

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

ROWS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


class Tokens(torch.nn.Module):
    """Of two inputs, one of which is no float."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(7, 6), torch.nn.Linear(6, 2)

    def forward(self, rows, ids):
        return self.out(rows + self.embedding(ids))


class Bound(torch.nn.Module):
    """Holds a tensor that is no parameter and stays what it is."""

    def __init__(self):
        super().__init__()
        self.weights = torch.ones(6, 2)

    def forward(self, rows):
        return rows @ self.weights


def save(net, folder):
    mlflow.pytorch.save_model(
        net, str(folder / "m"), serialization_format="pickle", pip_requirements=[]
    )


def rounding(folder, framework, inputs, tmp_path):
    source_worker.load(str(folder), framework)
    return source_worker.rounding([str(Inputs(inputs).save(tmp_path / "inputs"))])


def is_that_of_float32(found):
    return found["basis"] == "float64" and 1e-9 < found["error"] < 2e-6


@pytest.mark.parametrize("kind", ["eager", "script", "two inputs"])
def test_modules_of_torch(kind, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    asked = ROWS
    if kind == "script":
        net = torch.jit.script(net)
    if kind == "two inputs":
        net, asked = Tokens(), {"rows": ROWS, "ids": np.arange(40) % 7}
    mlflow.pytorch.save_model(
        net, str(tmp_path / "m"), serialization_format="pickle", pip_requirements=[]
    )
    (found,) = rounding(tmp_path / "m", "pytorch", asked, tmp_path).values()
    assert is_that_of_float32(found)
    assert torch.get_default_dtype() == torch.float32


def test_half_precision_shows_its_rounding(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Linear(32, 2)).to(torch.float16)
    mlflow.pytorch.save_model(
        net, str(tmp_path / "m"), serialization_format="pickle", pip_requirements=[]
    )
    asked = ROWS.astype(np.float16)
    (found,) = rounding(tmp_path / "m", "pytorch", asked, tmp_path).values()
    assert found["basis"] == "float64" and 5e-5 < found["error"] < 1e-2


class HalfWithin(torch.nn.Module):
    """Takes and gives float32."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Linear(32, 2)).half()

    def forward(self, rows):
        return self.inner(rows.half()).float()


def test_half_precision_within_a_module_shows_its_rounding(tmp_path):
    torch.manual_seed(0)
    save(HalfWithin(), tmp_path)
    (found,) = rounding(tmp_path / "m", "pytorch", ROWS, tmp_path).values()
    assert found["basis"] == "float64" and 5e-5 < found["error"] < 1e-2


def test_a_pipeline_in_half_precision_converts_by_its_own_rounding(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.BertModel(small_config(initializer_range=0.2)).half()
    folder = save_pipeline("feature-extraction", model, tmp_path / "m")
    texts = as_frame(TEXTS)
    found = rounding(folder, "transformers", texts.data, tmp_path)["last_hidden_state"]
    assert found["basis"] == "float64" and 5e-5 < found["error"] < 1e-2
    conversion, _ = converted(folder, "transformers", texts, None, tmp_path / "out")
    pipeline = mlflow.transformers.load_model(str(folder))
    answer = session_of(conversion).predict(TEXTS, {"outputs": ["mean_embedding"]})
    expected = [np.array(pipeline(text)[0]).mean(0) for text in TEXTS]
    np.testing.assert_allclose(answer["mean_embedding"], expected, atol=8 * found["error"])


def test_a_module_bound_to_its_dtype_is_measured_by_its_inputs(tmp_path):
    mlflow.pytorch.save_model(
        Bound(), str(tmp_path / "m"), serialization_format="pickle", pip_requirements=[]
    )
    (found,) = rounding(tmp_path / "m", "pytorch", ROWS, tmp_path).values()
    assert found["basis"] == "perturbation" and 0 < found["error"] < 2e-6


def test_keras_models(tmp_path):
    keras.utils.set_random_seed(0)
    given = keras.Input((6,), name="rows")
    wide = keras.layers.Dense(32, activation="gelu")(given)
    net = keras.Model(given, keras.layers.Dense(2)(keras.layers.LayerNormalization()(wide)))
    mlflow.tensorflow.save_model(
        net, str(tmp_path / "m"), signature=mlflow.models.infer_signature(ROWS), pip_requirements=[]
    )
    (found,) = rounding(tmp_path / "m", "tensorflow", ROWS, tmp_path).values()
    assert is_that_of_float32(found)


def test_a_source_in_float64_is_the_truth_itself(tmp_path):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(ROWS.astype(np.float64), ROWS[:, 0])
    mlflow.sklearn.save_model(
        model, str(tmp_path / "m"), pip_requirements=[], serialization_format="cloudpickle"
    )
    (found,) = rounding(tmp_path / "m", "sklearn", ROWS.astype(np.float64), tmp_path).values()
    assert found["basis"] == "perturbation" and 1e-9 < found["error"] < 2e-6


def test_half_precision_is_measured_where_no_copy_is_worth_its_memory(tmp_path, monkeypatch):
    """Weights are widened one by one then, to the same answers."""
    from mlflow_onnx_flavor.frameworks.pytorch import float64

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Embedding(7, 6), torch.nn.Linear(6, 32), torch.nn.LayerNorm(32), torch.nn.ReLU()
    )
    save(net.half(), tmp_path)
    tokens = np.arange(40).reshape(8, 5) % 7
    copied = rounding(tmp_path / "m", "pytorch", tokens, tmp_path)
    monkeypatch.setattr(float64, "_MOST_BYTES", 0)
    assert rounding(tmp_path / "m", "pytorch", tokens, tmp_path) == copied
    assert copied["output"]["basis"] == "float64" and copied["output"]["error"] > 5e-5


def test_half_precision_that_cannot_be_measured_is_refused_with_what_to_do(tmp_path, monkeypatch):
    from mlflow_onnx_flavor.errors import ConversionError
    from mlflow_onnx_flavor.frameworks.pytorch.framework import framework as pytorch

    torch.manual_seed(0)
    layers = (torch.nn.Linear(6, 6), torch.nn.LayerNorm(6))
    save(torch.nn.Sequential(*layers * 3).half(), tmp_path)
    answers = pytorch.reference_outputs
    monkeypatch.setattr(pytorch, "in_float64", lambda source: None)
    monkeypatch.setattr(
        pytorch,
        "reference_outputs",
        lambda *asked: {name: 1.1 * array for name, array in answers(*asked).items()},
    )
    rows = Inputs(ROWS.astype(np.float16))
    with pytest.raises(ConversionError, match="rounds is not known.*: log it in float32"):
        converted(tmp_path / "m", "pytorch", rows, None, tmp_path / "out")
