"""Measure every candidate against the source (and the champion) on every provider."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlflow_onnx_flavor.artifact.open_axes import open_axes
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.frameworks import get as framework_module
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency import scenarios
from mlflow_onnx_flavor.latency.contestants import Entrant, Participant, SavedInputs, open_all
from mlflow_onnx_flavor.latency.percentiles import percentile_intervals, percentile_ratio
from mlflow_onnx_flavor.latency.plan import Plan
from mlflow_onnx_flavor.latency.rounds import Rounds
from mlflow_onnx_flavor.latency.statistics import MIN_ROUNDS, figures
from mlflow_onnx_flavor.latency.system_load import Watch
from mlflow_onnx_flavor.latency.tasks import BATCHES
from mlflow_onnx_flavor.latency.workloads import (
    PYFUNC,
    SESSION,
    Workload,
    inputs_by_length,
    workloads,
)
from mlflow_onnx_flavor.machine.hardware import environment
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.schemas.evidence import (
    LatencyFigures,
    LatencyReport,
    LatencyRow,
)

SOURCE, CHAMPION = "source", "champion"
PERCENTS = (50, 90, 99)


def measure(plan: Plan) -> LatencyReport:
    """Time single ``predict`` calls of all models in turn, each in its own process as it is served.

    A model that fails, crashes or hangs gets a row with its cause at each workload that it did not
    finish, and the others go on.  All models are in memory together.
    Raises ConfigurationError if sequence lengths are set and the inputs have no sequence axis.
    """
    begun_ns = time.perf_counter_ns()
    note = plan.on_progress or (lambda _text: None)
    options, inputs, budget_seconds = plan.options, plan.inputs, plan.budget_seconds
    asked = workloads(plan.batch_sizes, options.sequence_lengths)
    entrants = _entrants(plan)
    participants = [Participant(each, plan.spares) for each in entrants]
    rounds = Rounds(participants, asked, budget_seconds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder("latency")))
        for participant in participants:
            stack.callback(participant.close)
        needed = inputs.take(
            slice(0, max([*plan.batch_sizes, *options.offline_batch_sizes]) * BATCHES)
        )
        saved = _saved(needed, plan.candidates, options.sequence_lengths, folder)
        note(f"loading {len(entrants)} models, each in its own process")
        open_all(participants, saved, asked[0])
        note(f"timing them in turns, batches of {' and '.join(map(str, asked))}")
        with Watch(lambda: [each.pid for each in participants if each.running]) as watch:
            rounds.run(plan.confidence, plan.precision, note)
        loads = [each.load_row() for each in participants]
        as_served = [each for each in participants if each.entrant.threads is None]
        offline = scenarios.offline(as_served, options.offline_batch_sizes, saved, budget_seconds)
        server, capacities = scenarios.server(as_served, options.server, saved, note)
    table = _Table(rounds, plan.confidence, budget_seconds)
    return LatencyReport(
        source=plan.source_identity,
        candidates=tuple(each.identity for each in plan.candidates),
        inputs_digest=inputs.digest(),
        rows=tuple(
            table.row(candidate, baseline, workload, path)
            for candidate, baseline, path in _comparisons(participants)
            for workload in asked
        ),
        loads=tuple(each for each in loads if each is not None),
        offline=offline,
        server=server,
        capacities=capacities,
        seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
        measuring_seconds=rounds.seconds,
        environment=environment(framework_module(plan.framework).distributions),
        surroundings=watch.surroundings(_medians(rounds, participants[0], asked)),
    )


def _entrants(plan: Plan) -> list[Entrant]:
    """Return source and champion as logged, then every candidate on every provider.

    Each candidate is entered as it is served and with every number of threads.
    """
    source = Entrant(plan.source_identity, Path(plan.source_path), None, SOURCE, plan.source_python)
    entrants = [source]
    if plan.champion is not None:
        entrants.append(Entrant(plan.champion.identity, plan.champion.folder, None, CHAMPION))
    return entrants + [
        Entrant(candidate.identity, candidate.folder, provider, threads=number)
        for provider in plan.execution_providers
        for candidate in plan.candidates
        for number in (None, *sorted(set(plan.options.threads)))
    ]


def _saved(
    inputs: Inputs, candidates: Sequence[CandidateFolder], lengths: Sequence[int], folder: Path
) -> SavedInputs:
    axes = open_axes(candidates[0].folder) if lengths else []
    by_length = inputs_by_length(inputs, axes, lengths)
    return {
        length: each.save(folder / str(length or "given")) for length, each in by_length.items()
    }


def _comparisons(
    participants: Sequence[Participant],
) -> Iterator[tuple[Participant, Participant, str]]:
    """Yield each candidate, the model to compare it with, and the path of the candidate to call.

    Each candidate is compared with source and champion, with the first candidate on the same
    provider, which tells variants apart, and its session alone with the source.
    """
    baselines = [each for each in participants if each.entrant.baseline]
    candidates = [each for each in participants if not each.entrant.baseline]
    for candidate in candidates:
        for baseline in baselines:
            yield candidate, baseline, PYFUNC
        first = next(
            each for each in candidates if each.entrant.provider == candidate.entrant.provider
        )
        if first is not candidate:
            yield candidate, first, PYFUNC
        if candidate.entrant.threads is None:
            yield candidate, baselines[0], SESSION


@dataclass(frozen=True)
class _Table:
    """Makes the rows of a report."""

    rounds: Rounds
    confidence: float
    budget_seconds: float

    def row(
        self, candidate: Participant, baseline: Participant, workload: Workload, path: str
    ) -> LatencyRow:
        against = baseline.entrant.baseline or baseline.entrant.identity.name
        common = {
            "candidate": candidate.entrant.identity.name,
            "baseline": against,
            "execution_provider": candidate.entrant.provider,
            "batch_size": workload.batch_size,
            "sequence_length": workload.sequence_length,
            "threads": candidate.entrant.threads,
            "path": path,
        }
        for each, prefix in ((candidate, ""), (baseline, f"the {against}: ")):
            if workload in each.failures:
                status, cause = each.failures[workload]
                return LatencyRow(**common, status=status, cause=f"{prefix}{cause}")
        baseline_times, times = self.rounds.pairs(candidate, baseline, workload, path)
        speedup = self.rounds.ratio(candidate, baseline, workload, self.confidence, path)
        if speedup is None:
            cause = self._why_not(candidate, workload, path, len(times))
            return LatencyRow(**common, status="skipped", cause=cause, rounds=len(times))
        return LatencyRow(
            **common,
            status="measured",
            candidate_figures=self._figures(times, workload),
            baseline_figures=self._figures(baseline_times, workload),
            speedup=speedup,
            p99_speedup=percentile_ratio(baseline_times, times, 99, self.confidence),
            rounds=len(times),
        )

    def _why_not(self, candidate: Participant, workload: Workload, path: str, rounds: int) -> str:
        if path == SESSION and self.rounds.times[candidate, workload, PYFUNC]:
            return "not told apart from the pyfunc: its calls take too long, or it has no session"
        return (
            f"the budget of {self.budget_seconds:g} s ended after {rounds} of the {MIN_ROUNDS}"
            " rounds that an interval needs: give more budget seconds"
        )

    def _figures(self, times: list[np.ndarray], workload: Workload) -> LatencyFigures:
        intervals = percentile_intervals(times, PERCENTS, self.confidence)
        named = {f"p{percent}": each for percent, each in intervals.items()}
        return figures(np.concatenate(times), workload.batch_size, named)


def _medians(
    rounds: Rounds, participant: Participant, asked: Sequence[Workload]
) -> list[list[float]]:
    """Return the source's medians of each round, by workload."""
    return [
        [float(np.median(each)) for each in rounds.times[participant, workload, PYFUNC]]
        for workload in asked
    ]
