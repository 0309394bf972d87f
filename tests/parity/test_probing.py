"""Probes find what evaluation data does not; what the source refuses is no probe."""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

import mlflow_onnx_flavor
from mlflow_onnx_flavor import parity
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.gates import judge_parity
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.generate import Probe
from mlflow_onnx_flavor.inputs.probes.tensors import PADDING_ALONE
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ModelIdentity
from mlflow_onnx_flavor.schemas.origins import (
    BATCH_PROBES,
    EXTREME_PROBES,
    PROBES,
    SEARCHED_PROBES,
)
from mlflow_onnx_flavor.source import tasks as source_worker
from mlflow_onnx_flavor.source.probing import _taken
from tests.builders import CPU
from tests.frameworks.in_process import converted

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.process


RNG = np.random.default_rng(0)
ROWS = pd.DataFrame({"a": RNG.normal(size=300), "b": RNG.normal(size=300)})


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A saved tree, and the file that it was converted to."""
    folder = tmp_path_factory.mktemp("tree")
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(ROWS, ROWS["a"] * ROWS["b"])
    save(model, folder / "source")
    conversion, _ = converted(
        folder / "source", "sklearn", Inputs(ROWS[:5]), Inputs(ROWS), folder / "out"
    )
    return folder / "source", conversion.path


def save(model, folder):
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(ROWS),
        input_example=ROWS[:5],
        serialization_format="cloudpickle",
        pip_requirements=[],
    )


def with_a_moved_split(file, folder):
    """The same trees, but for one threshold that is a few roundings off."""
    proto = onnx.load(str(file))
    (node,) = (each for each in proto.graph.node if each.op_type.startswith("TreeEnsemble"))
    (splits,) = (each for each in node.attribute if each.name == "nodes_splits")
    values = onnx.numpy_helper.to_array(splits.t).copy()
    values[0] = np.nextafter(np.nextafter(np.float32(values[0]), np.inf), np.inf)
    splits.t.CopyFrom(onnx.numpy_helper.from_array(values, splits.t.name))
    onnx.save(proto, str(folder / "moved.onnx"))
    return folder / "moved.onnx"


def test_a_faithful_candidate_agrees_on_every_probe(tree):
    report = mlflow_onnx_flavor.check_parity(*tree, ROWS, ["CPUExecutionProvider"])
    assert all(finding.passed for finding in judge_parity(report, Configuration().gates.parity))
    assert report.probes.rows["at a split of a tree"] > 20
    assert {row.inputs for row in report.rows} >= {PROBES, EXTREME_PROBES}


def test_a_split_that_is_a_rounding_off_is_found_and_replayed(tree, tmp_path):
    source, faithful = tree
    moved = with_a_moved_split(faithful, tmp_path)
    report = mlflow_onnx_flavor.check_parity(
        source, moved, ROWS, ["CPUExecutionProvider"], worst_inputs=tmp_path / "worst"
    )
    on = {row.inputs: row for row in report.rows if row.batch_size == 32}
    assert on["evaluation data"].outputs[0].disagreements(1e-6) == 0
    worst = on[PROBES].worst
    assert worst and {each.kind for each in worst} == {"at a split of a tree"}
    failed = [
        each for each in judge_parity(report, Configuration().gates.parity) if not each.passed
    ]
    assert failed and all("probes differ" in finding.measured for finding in failed)

    again = mlflow_onnx_flavor.check_parity(
        source, moved, str(tmp_path / "worst" / "inputs.parquet"), ["CPUExecutionProvider"]
    )
    replayed = next(row for row in again.rows if row.inputs == "evaluation data")
    assert replayed.outputs[0].disagreements(1e-6) == replayed.outputs[0].rows == len(worst)


def test_each_candidate_has_a_search_of_its_own(tree, tmp_path):
    source, file = tree
    candidates = [
        CandidateFolder(ModelIdentity(name=name, uri="", digest=name), path)
        for name, path in (
            ("first", file),
            ("wrong", with_a_moved_split(file, tmp_path)),
            ("second", file),
        )
    ]
    report = parity.measure(
        parity.Plan(
            source,
            "sklearn",
            candidates,
            Inputs(ROWS),
            None,
            [CPU],
            source_identity=candidates[0].identity,
            probe_seed=0,
        )
    )
    searched = {(row.candidate, row.inputs) for row in report.rows if "searched" in row.inputs}
    assert searched == {
        (name, f"{SEARCHED_PROBES} {name}") for name in ("first", "second")
    }  # a candidate that differs already needs none
    assert all(row.status == "measured" for row in report.rows)


@pytest.mark.parametrize("shape", [(6,), (3, 5, 5)])
def test_a_branch_that_was_traced_away_is_found(shape, tmp_path):
    """The data that is given goes one way only."""

    class Branching(torch.nn.Module):
        """Which way it goes depends on what it is given."""

        def forward(self, rows):
            if bool(rows.sum() > 0):
                return rows * 2.0
            return rows - 1.0

    positive = RNG.uniform(0.1, 1, (40, *shape)).astype(np.float32)
    module = torch.jit.script(Branching())
    mlflow.pytorch.save_model(
        module,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(positive),
        input_example=positive[:4],
        serialization_format="pickle",
        pip_requirements=[],
    )
    traced = torch.jit.trace(Branching(), torch.from_numpy(positive[:4]))
    torch.onnx.export(
        traced,
        (torch.from_numpy(positive[:4]),),
        str(tmp_path / "traced.onnx"),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        dynamo=False,
    )
    report = mlflow_onnx_flavor.check_parity(
        tmp_path / "source", tmp_path / "traced.onnx", positive, ["CPUExecutionProvider"]
    )
    on = {row.inputs: row for row in report.rows if row.batch_size == 1}
    assert on["evaluation data"].outputs[0].disagreements(1e-5) == 0
    assert on[PROBES].outputs[0].disagreements(1e-5) > 0
    assert not all(each.passed for each in judge_parity(report, Configuration().gates.parity))


def test_probes_can_be_left_out(tree):
    configuration = Configuration.model_validate({"probes": {"enabled": False}})
    report = mlflow_onnx_flavor.check_parity(
        *tree, ROWS, ["CPUExecutionProvider"], configuration=configuration
    )
    assert report.probes is None and PROBES not in {row.inputs for row in report.rows}


def test_what_the_source_refuses_is_no_probe(tmp_path):
    save(LogisticRegression().fit(ROWS, ROWS["a"] > 0), tmp_path / "source")
    conversion, _ = converted(
        tmp_path / "source", "sklearn", Inputs(ROWS[:5]), Inputs(ROWS), tmp_path / "out"
    )
    rows = str(Inputs(ROWS).save(tmp_path / "rows"))
    source_worker.load(str(tmp_path / "source"), "sklearn")
    made = source_worker.probe(rows, str(conversion.path), str(tmp_path / "probes"), 0)["probes"]
    kinds = {kind for each in made for kind in each["kinds"]}
    assert "ends of the range" in kinds and not kinds & {"missing", "infinite"}


def test_extreme_probes_are_judged_only_where_it_is_asked(tree, tmp_path):
    source, faithful = tree
    report = mlflow_onnx_flavor.check_parity(source, faithful, ROWS, ["CPUExecutionProvider"])
    gate = Configuration().gates.parity
    judged = judge_parity(report, gate.model_copy(update={"extreme_probes": True}))
    assert len(judged) == len(judge_parity(report, gate)) + 2


class Padded(torch.nn.Module):
    """An encoder that torch runs without padding, which it refuses for padding alone."""

    def __init__(self):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 1)

    def forward(self, x, mask):
        return self.encoder(x, src_key_padding_mask=mask == 0)[:, 0]


def test_a_row_that_is_refused_alone_is_a_probe_within_a_batch():
    module = Padded().eval()
    rows = {
        "x": RNG.normal(size=(6, 4, 8)).astype(np.float32),
        "mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]] * 3, np.int64),
    }

    def ask(some):
        with torch.no_grad():
            answer = module(*map(torch.from_numpy, some.data.values()))
        return {"output": answer.numpy()}

    probe = Probe(PADDING_ALONE, Inputs({n: a[:3] for n, a in rows.items()}, PROBES))
    probe.inputs.data["mask"][0] = 0
    ((origin, within),) = _taken(probe, ask)
    assert origin == BATCH_PROBES and within.rows == 3
    with pytest.raises(RuntimeError, match="to_padded_tensor"):
        ask(within.take([0]))
