"""A conversion in its child process: exporters that crash or hang are lines of the record."""

from __future__ import annotations

import tempfile

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import mlflow_onnx_flavor as onnx_flavor
from mlflow_onnx_flavor.conversion.convert import convert_model
from mlflow_onnx_flavor.errors import ConversionError, CorruptModelError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.configuration import Configuration, ConversionOptions
from tests.frameworks.in_process import save_estimator

pytestmark = pytest.mark.process

ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0]})


class Trap(np.ndarray):
    """Coefficients that predict, but do ``deed`` the moment that the exporter reads them."""

    deed = "abort"

    def __array_finalize__(self, other):
        import inspect
        import os
        import time

        self.deed = getattr(other, "deed", "abort")
        if any("skl2onnx" in frame.filename for frame in inspect.stack()):
            if self.deed == "abort":
                os.abort()
            if self.deed == "eat memory":
                self.eaten = np.ones(150_000_000)  # 1.2 GB
            time.sleep(60)

    def __reduce__(self):
        return _trap, (np.asarray(self).tolist(), self.deed)


def _trap(values, deed):
    trap = np.asarray(values).view(Trap)
    trap.deed = deed
    return trap


def die(_rows):
    """Stands for a native library that crashes."""
    import os

    os.abort()


def save(model, folder):
    save_estimator(model, ROWS, folder)
    return folder


@pytest.fixture(autouse=True)
def _by_value(monkeypatch):
    """The classes of this file travel inside the pickle: the child cannot import the tests."""
    import sys

    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_right_conversion_records_what_was_tried(tmp_path):
    folder = save(LinearRegression().fit(ROWS, [1.0, 2.0, 3.0]), tmp_path / "source")
    conversion = convert_model(folder, "sklearn", Inputs(ROWS), None, tmp_path)
    assert conversion.path == tmp_path / "model.onnx" and conversion.path.exists()
    assert conversion.attempts[0].outcome == "converted"
    assert {each.outcome for each in conversion.attempts[1:]} == {"not tried"}
    assert conversion.attempts[0].exporter_version and conversion.attempts[0].seconds > 0
    assert type(conversion).model_validate_json(conversion.model_dump_json()) == conversion


def test_a_source_that_kills_its_process_is_a_crash_with_its_signal(tmp_path):
    model = LinearRegression().fit(ROWS, [1.0, 2.0, 3.0])
    model.predict = die
    folder = save(model, tmp_path / "source")
    with pytest.raises(ConversionError, match="SIGABRT"):
        convert_model(folder, "sklearn", Inputs(ROWS), None, tmp_path)


@pytest.mark.parametrize(("deed", "outcome"), [("abort", "crashed"), ("hang", "timed out")])
def test_an_exporter_that_dies_or_hangs_is_an_attempt(deed, outcome, tmp_path):
    model = LinearRegression().fit(ROWS, [1.0, 2.0, 3.0])
    model.coef_ = _trap(model.coef_.tolist(), deed)
    folder = save(model, tmp_path / "source")
    with pytest.raises(ConversionError) as caught:
        convert_model(folder, "sklearn", Inputs(ROWS), None, tmp_path, strategy_timeout_s=3.0)
    assert outcome in {each.outcome for each in caught.value.attempts}


def test_the_file_says_where_it_comes_from(tmp_path):
    folder = save(LinearRegression().fit(ROWS, [1.0, 2.0, 3.0]), tmp_path / "source")
    conversion = onnx_flavor.convert(str(folder), ROWS, output_dir=tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["model.onnx"]
    told = {each.key: each.value for each in onnx.load(conversion.path).metadata_props}
    assert told["source_uri"].endswith("source") or told["source_uri"].startswith("models:/")
    assert told["source_digest"] and told["strategy"] == conversion.strategy
    assert "scikit-learn" in told["versions"]


@pytest.mark.parametrize(("opset", "ir_version"), [(17, 8), (18, None), (None, 11)])
def test_versions_are_those_of_the_runtime_that_is_asked_for(opset, ir_version, tmp_path):
    folder = save(LinearRegression().fit(ROWS, [1.0, 2.0, 3.0]), tmp_path / "source")
    options = ConversionOptions(opset=opset, ir_version=ir_version)
    conversion = onnx_flavor.convert(
        str(folder), ROWS, configuration=Configuration(conversion=options)
    )
    model = onnx.load(conversion.path)
    assert opset is None or conversion.opset == opset
    assert ir_version is None or model.ir_version == ir_version


def test_versions_that_do_not_go_together_are_refused_with_the_remedy(tmp_path, monkeypatch):
    folder = save(LinearRegression().fit(ROWS, [1.0, 2.0, 3.0]), tmp_path / "source")
    configuration = Configuration(conversion=ConversionOptions(ir_version=4))
    with pytest.raises(ConversionError, match="ask for a lower conversion.opset as well"):
        onnx_flavor.convert(
            str(folder), ROWS, output_dir=tmp_path / "out", configuration=configuration
        )
    assert list((tmp_path / "out").iterdir()) == []  # nothing is left of what failed
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(ConversionError):
        onnx_flavor.convert(str(folder), ROWS, configuration=configuration)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_exporter_that_eats_memory_is_stopped_and_told_so(tmp_path):
    model = LinearRegression().fit(ROWS, [1.0, 2.0, 3.0])
    model.coef_ = _trap(model.coef_.tolist(), "eat memory")
    folder = save(model, tmp_path / "source")
    configuration = Configuration(conversion=ConversionOptions(max_memory_gigabytes=0.9))
    with pytest.raises(ConversionError) as caught:
        onnx_flavor.convert(str(folder), ROWS, configuration=configuration)
    stopped = caught.value.attempts[0]
    assert stopped.outcome == "crashed" and "858 MiB are allowed" in stopped.cause
    assert "conversion.max_memory_gigabytes" in stopped.remedy


def test_a_broken_pickle_is_one_sentence(tmp_path):
    folder = save(LinearRegression().fit(ROWS, [1.0, 2.0, 3.0]), tmp_path / "source")
    (folder / "model.pkl").write_bytes(b"broken")
    with pytest.raises(CorruptModelError, match="sklearn cannot load the model") as caught:
        convert_model(folder, "sklearn", Inputs(ROWS), None, tmp_path)
    assert "\n" not in str(caught.value)
