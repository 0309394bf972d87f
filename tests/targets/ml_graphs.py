"""Models of one operator of ai.onnx.ml with random attributes, and what answers they give."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
}


def ml_model(op_type, dtype, shape, outputs, initializers=(), more_inputs=(), **attributes):
    """``outputs``: (name, onnx type) each; the input is ``x`` with ``shape``."""
    node = helper.make_node(
        op_type,
        ["x", *more_inputs],
        [name for name, _ in outputs],
        domain="ai.onnx.ml",
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TYPES[np.dtype(dtype)], shape)],
        [_typed(*each) for each in outputs],
        [numpy_helper.from_array(values, name) for name, values in initializers],
    )
    version = 5 if op_type == "TreeEnsemble" else 3 if op_type.startswith("Tree") else 2
    if op_type == "LabelEncoder":
        version = 4
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _typed(name, kind):
    if kind == "map":
        kind_of_map = helper.make_map_type_proto(
            TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        return helper.make_value_info(name, helper.make_sequence_type_proto(kind_of_map))
    return helper.make_tensor_value_info(name, kind, None)


def answers(model: onnx.ModelProto, **inputs):
    """By output, on one thread: additions are then done in the order of the trees."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


NODES = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_values",
    "nodes_modes",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)


def random_trees(
    rng, trees, depth, features, targets, prefix=None, modes=("BRANCH_LEQ",), classes=None
):
    """Attributes of TreeEnsembleRegressor or -Classifier (``prefix``: "target" or "class")."""
    columns = {name: [] for name in NODES}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree, level, ids):
        number = next(ids)
        leaf = level == depth or (level > 0 and rng.random() < 0.2)
        place = len(columns["nodes_treeids"])
        for name, value in zip(
            columns,
            [
                tree,
                number,
                int(rng.integers(features)),
                float(np.float32(rng.normal())),
                "LEAF" if leaf else str(rng.choice(modes)),
                0,
                0,
                int(rng.random() < 0.3),
            ],
            strict=True,
        ):
            columns[name].append(value)
        if leaf:
            for target in classes if classes is not None else range(targets):
                leaves["treeids"].append(tree)
                leaves["nodeids"].append(number)
                leaves["ids"].append(target)
                leaves["weights"].append(float(np.float32(rng.normal())))
        else:
            columns["nodes_truenodeids"][place] = grow(tree, level + 1, ids)
            columns["nodes_falsenodeids"][place] = grow(tree, level + 1, ids)
        return number

    for tree in range(trees):
        grow(tree, 0, iter(range(10_000)))
    return columns | {f"{prefix}_{name}": values for name, values in leaves.items()}
