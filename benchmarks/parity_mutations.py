"""Mutation test of parity checks: wrong models that are caught, correct models that are refused.

    python -m benchmarks.parity_mutations [--each 3] [--only "random forest" ...]

Faithful conversions are broken in one way at a time (`mutants.py`).  A mutant counts as wrong if it
changes an output on 5,000 rows by more than four times the rounding error of the faithful
conversion there; the other mutants are as good as faithful.  Each check sees 32 other rows: ours is
`parity.measure` with its probes under the default gate, the others are in `peer_criteria.py`.
False alarms are counted on the faithful conversions, on 5 draws of 32 rows each.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.mutants import Mutant, mutants
from benchmarks.mutated_sources import LARGE, Source, sources
from benchmarks.peer_criteria import CRITERIA

ROWS, DRAWS, WORSE = 32, 5, 4.0
OURS = "this project"
CHECKS = (OURS, *CRITERIA)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=3, help="mutants of a kind, of a model")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    caught, counted, alarms, tried = Counter(), Counter(), Counter(), 0
    begun = time.perf_counter()
    for source in sources():
        if arguments.only and source.name not in arguments.only:
            continue
        before = tried, counted.total(), alarms[OURS], _ours_caught(caught)
        with tempfile.TemporaryDirectory() as folder, _Checked(source, Path(folder)) as checked:
            for seed in range(DRAWS):
                tried += 1
                for check, right in checked.verdicts(checked.faithful, seed + 100).items():
                    alarms[check] += not right
            for mutant, changes in checked.broken(arguments.each):
                verdicts = checked.verdicts(mutant.model, 100)
                if verdicts is None or not changes:
                    continue
                counted[mutant.kind] += 1
                for check, right in verdicts.items():
                    caught[check, mutant.kind] += not right
                if verdicts[OURS]:
                    print(f"not caught: {source.name}: {mutant.kind} at {mutant.where} ({changes})")
        after = tried, counted.total(), alarms[OURS], _ours_caught(caught)
        right, wrong, refused, found = (now - then for now, then in zip(after, before, strict=True))
        print(
            f"{source.name}: {found} of {wrong} caught, {refused} false alarms in {right}",
            flush=True,
        )
    _print(caught, counted, alarms, tried, time.perf_counter() - begun)


def _ours_caught(caught: Counter) -> int:
    return sum(number for (check, _), number in caught.items() if check == OURS)


class _Checked:
    """A source in its process, its faithful conversion, and the outputs of both on many rows."""

    def __init__(self, source: Source, folder: Path):
        from mlflow_onnx_flavor.conversion.convert import convert_model
        from mlflow_onnx_flavor.inputs import Inputs
        from mlflow_onnx_flavor.source.process import SourceModelWorker

        self.source, self.folder = source, folder
        source.save(folder / "source")
        self.worker = SourceModelWorker(folder / "source", source.framework)
        example = Inputs(source.rows(ROWS, 100))
        self.conversion = convert_model(
            folder / "source",
            source.framework,
            example,
            Inputs(source.rows(1_000, 7)),
            folder / "out",
            worker=self.worker,
        )
        self.faithful = onnx.load(str(self.conversion.path))
        self.large = source.rows(LARGE, 3)
        self.truth = self._asked(Inputs(self.large))
        self.answers = self._answers(self.faithful, self.large)

    def _asked(self, inputs: Any) -> Mapping[str, np.ndarray]:
        (outputs,) = self.worker.reference(inputs, [(inputs.rows, inputs.rows)])
        return outputs

    def _answers(self, model: onnx.ModelProto, rows: Any) -> Mapping[str, np.ndarray]:
        from mlflow_onnx_flavor import scoring

        path = self.folder / "asked.onnx"
        onnx.save(model, str(path))
        graph = self.conversion.graph.model_dump(mode="json")
        return scoring.open_graph(str(path), graph).run(rows)

    def broken(self, each: int) -> Iterator[tuple[Mutant, str]]:
        """Yield mutants that run, and their change on many rows; "" if it is rounding error."""
        made = list(mutants(self.faithful, np.random.default_rng(0), each))
        if self.source.traced is not None:
            file = self.folder / "traced.onnx"
            self.source.traced(file)
            made.append(Mutant("a branch traced away", "the graph", onnx.load(str(file))))
        for mutant in made:
            try:
                found = self._answers(mutant.model, self.large)
            except Exception:  # whatever onnxruntime raises for an invalid graph
                continue
            yield mutant, self._change(found)

    def _change(self, found: Mapping[str, np.ndarray]) -> str:
        from mlflow_onnx_flavor.comparison.outputs import scaled_errors

        for name, truth in self.truth.items():
            faithful, mutated = self.answers[name], found[name]
            if np.shape(mutated) != np.shape(faithful):
                return f"shape of {name}"
            if np.asarray(truth).dtype.kind != "f":
                changed = int(np.sum(np.asarray(mutated) != np.asarray(faithful)))
                if changed:
                    return f"{changed} of {LARGE} rows of {name}"
                continue
            rounding = float(scaled_errors(truth, faithful).max())
            errors = scaled_errors(faithful, mutated).max(axis=1)
            if not np.isfinite(mutated).all() or errors.max() > WORSE * max(rounding, 1e-7):
                share = np.mean(errors > WORSE * max(rounding, 1e-7))
                return f"{name} by up to {errors.max():.1e}, {share:.2%} of rows"
        return ""

    def verdicts(self, model: onnx.ModelProto, seed: int) -> dict[str, bool] | None:
        """Return whether each check accepts ``model`` on 32 rows; None if it does not run."""
        from mlflow_onnx_flavor.inputs import Inputs

        rows = self.source.rows(ROWS, seed)
        truth = self._asked(Inputs(rows))
        try:
            found = self._answers(model, rows)
        except Exception:  # as above
            return None
        said = {name: right(truth, found) for name, right in CRITERIA.items()}
        return {OURS: self._ours(Inputs(rows)), **said}

    def _ours(self, rows: Any) -> bool:
        from mlflow_onnx_flavor import flavor, parity
        from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
        from mlflow_onnx_flavor.gates import judge_parity
        from mlflow_onnx_flavor.schemas.configuration import Configuration
        from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity

        identity = ModelIdentity(name="candidate", uri="", digest="")
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "candidate"
        flavor.save_model(
            onnx.load(str(self.folder / "asked.onnx")), str(folder), graph=self.conversion.graph
        )
        report = parity.measure(
            parity.Plan(
                self.folder / "source",
                self.source.framework,
                [CandidateFolder(identity, folder)],
                rows,
                None,
                [ExecutionProvider(name="CPUExecutionProvider")],
                source_identity=identity,
                source_worker=self.worker,
                probe_seed=0,
            )
        )
        return all(each.passed for each in judge_parity(report, Configuration().gates.parity))

    def __enter__(self) -> _Checked:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.worker.close()


def _print(caught: Counter, counted: Counter, alarms: Counter, tried: int, seconds: float) -> None:
    print(f"\n{'caught of wrong models':<28}{'wrong':>7}" + "".join(f"{c:>14}" for c in CHECKS))
    for kind in counted:
        cells = "".join(f"{caught[check, kind]:>14}" for check in CHECKS)
        print(f"{kind:<28}{counted[kind]:>7}{cells}")
    totals = {check: sum(caught[check, kind] for kind in counted) for check in CHECKS}
    print(f"{'all':<28}{sum(counted.values()):>7}" + "".join(f"{totals[c]:>14}" for c in CHECKS))
    cells = "".join(f"{alarms[check]:>14}" for check in CHECKS)
    print(f"\n{'false alarms':<28}{tried:>7}{cells}")
    print(f"\n{seconds:.0f} s")


if __name__ == "__main__":
    main()
