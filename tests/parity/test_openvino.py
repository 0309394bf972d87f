"""OpenVINO's plug-in provider on a CPU that it supports: what its default precision costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from onnx import helper, numpy_helper

from mlflow_onnx_flavor import parity, scoring
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from tests.builders import CPU, IN_FLOAT32, OPENVINO, identity
from tests.onnx_graphs import save, tensor

pytestmark = pytest.mark.process

COLUMNS = 64


def has_a_device() -> bool:
    if OPENVINO.name not in scoring.available_providers():
        return False
    import onnxruntime as ort

    from mlflow_onnx_flavor.scoring.providers import register

    register(OPENVINO.name)
    return any(each.ep_name == OPENVINO.name for each in ort.get_ep_devices())


@pytest.mark.skipif(not has_a_device(), reason="OpenVINO supports no device of this machine")
def test_openvino_runs_the_model_and_its_precision_is_explained_and_cured(tmp_path):
    import mlflow
    from sklearn.linear_model import LinearRegression

    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        generator.normal(size=(200, COLUMNS)), columns=[f"c{each}" for each in range(COLUMNS)]
    )
    model = LinearRegression().fit(frame, frame.to_numpy() @ generator.normal(size=(COLUMNS, 8)))
    mlflow.sklearn.save_model(
        model,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    path = save(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["prediction"]),
        ],
        [tensor("x", ["rows", COLUMNS])],
        [tensor("prediction", ["rows", 8])],
        tmp_path / "model.onnx",
        [
            numpy_helper.from_array(model.coef_.T.astype(np.float32), "w"),
            numpy_helper.from_array(model.intercept_.astype(np.float32), "b"),
        ],
    )
    default = OPENVINO
    exact = ExecutionProvider(name=OPENVINO.name, options={"load_config": IN_FLOAT32})
    report = parity.measure(
        parity.Plan(
            tmp_path / "source",
            "sklearn",
            [CandidateFolder(identity("converted"), path)],
            Inputs(frame),
            None,
            [default, exact, CPU],
            source_identity=identity("source"),
        )
    )
    for row in report.rows:
        assert row.status == "measured" and row.placement[row.execution_provider.name] > 0
        (output,) = row.outputs
        beyond = output.disagreements(output.auto_tolerance)
        if row.execution_provider != default:
            assert beyond == 0 and row.cause == ""
        elif beyond:  # on a CPU without bf16 it computes in float32
            assert row.cause.startswith("OpenVINO computes in bf16") and IN_FLOAT32 in row.remedy
