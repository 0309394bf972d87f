"""Texts are joined within a graph as Python joins them, whatever is left out."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from mlflow_onnx_flavor.frameworks.transformers.text_joining import join_texts

TEXTS = ["PER", "", "LOC", "Müller"]


@pytest.fixture(scope="module")
def session():
    graph = helper.make_graph(
        [],
        "joining",
        [helper.make_tensor_value_info("positions", TensorProto.INT64, ["rows", "columns"])],
        [helper.make_tensor_value_info("joined", TensorProto.STRING, ["rows"])],
    )
    join_texts(graph, "positions", TEXTS, "joined")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (3, 0), (0, 4)])
def test_rows_of_positions_become_texts(session, shape):
    positions = np.random.default_rng(0).integers(0, len(TEXTS) + 1, shape)
    (found,) = session.run(None, {"positions": positions})
    known = [*TEXTS, ""]
    assert found.tolist() == [",".join(known[at] for at in row if known[at]) for row in positions]
