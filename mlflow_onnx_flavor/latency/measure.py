"""Measure every candidate against the source (and the champion) on every provider."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mlflow_onnx_flavor.candidates.folder import CandidateFolder
from mlflow_onnx_flavor.environment import environment
from mlflow_onnx_flavor.evidence import (
    ExecutionProvider,
    LatencyReport,
    LatencyRow,
    ModelIdentity,
)
from mlflow_onnx_flavor.frameworks import get as framework_module
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency.participants import Entrant, Participant, open_all
from mlflow_onnx_flavor.latency.rounds import Rounds
from mlflow_onnx_flavor.latency.statistics import MIN_ROUNDS, Precision, figures
from mlflow_onnx_flavor.latency.tasks import BATCHES
from mlflow_onnx_flavor.spare_workers import SpareWorkers

SOURCE, CHAMPION = "source", "champion"
DEFAULT_PRECISION = Precision()


def measure(
    source_path: Path,
    framework: str,
    candidates: Sequence[CandidateFolder],
    inputs: Inputs,
    execution_providers: Sequence[ExecutionProvider],
    *,
    batch_sizes: Sequence[int],
    confidence: float,
    budget_seconds: float,
    source_identity: ModelIdentity,
    champion: CandidateFolder | None = None,
    precision: Precision = DEFAULT_PRECISION,
    spares: SpareWorkers | None = None,
    source_python: str = sys.executable,
    on_progress: Callable[[str], None] | None = None,
) -> LatencyReport:
    """Time single ``predict`` calls of all, alternately, each in its own process as it is served.

    ``batch_sizes``: rows a call; ``inputs`` are repeated where they are fewer.  ``budget_seconds``:
    the most time to spend in rounds; less where every interval reaches ``precision`` before, more
    where slow models need it for the fewest rounds that make an interval.  A model that fails,
    crashes or hangs is a row with its cause at the batch sizes that were not finished, and the
    others go on.  All models are in memory together.  ``spares``: processes that are ready already.
    ``source_python``: the interpreter that the source runs on.
    """
    begun_ns = time.perf_counter_ns()
    note = on_progress or (lambda _text: None)
    batch_sizes = sorted(set(batch_sizes))
    source = Entrant(source_identity, Path(source_path), None, SOURCE, source_python)
    entrants = _entrants(source, candidates, execution_providers, champion)
    participants = [Participant(each, spares) for each in entrants]
    rounds = Rounds(participants, batch_sizes, budget_seconds)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-onnx-latency-"))
        )
        for participant in participants:
            stack.callback(participant.close)
        needed = inputs.take(slice(0, max(batch_sizes) * BATCHES))
        note(f"loading {len(entrants)} models, each in its own process")
        open_all(participants, needed.save(folder), batch_sizes)
        note(f"timing them in turns, batches of {' and '.join(map(str, batch_sizes))}")
        rounds.run(confidence, precision, note)
        loads = [each.load_row() for each in participants]
    return LatencyReport(
        source=source_identity,
        candidates=tuple(each.identity for each in candidates),
        inputs_digest=inputs.digest(),
        rows=tuple(
            _row(candidate, baseline, batch_size, rounds, confidence, budget_seconds)
            for candidate in participants
            if not candidate.entrant.baseline
            for baseline in participants
            if baseline.entrant.baseline
            for batch_size in batch_sizes
        ),
        loads=tuple(each for each in loads if each is not None),
        seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
        measuring_seconds=rounds.seconds,
        environment=environment(framework_module(framework).distributions),
    )


def _entrants(
    source: Entrant,
    candidates: Sequence[CandidateFolder],
    execution_providers: Sequence[ExecutionProvider],
    champion: CandidateFolder | None,
) -> list[Entrant]:
    """Source and champion as they were logged; every candidate on every provider."""
    entrants = [source]
    if champion is not None:
        entrants.append(Entrant(champion.identity, champion.folder, None, CHAMPION))
    return entrants + [
        Entrant(candidate.identity, candidate.folder, provider)
        for provider in execution_providers
        for candidate in candidates
    ]


def _row(
    candidate: Participant,
    baseline: Participant,
    batch_size: int,
    rounds: Rounds,
    confidence: float,
    budget_seconds: float,
) -> LatencyRow:
    common = {
        "candidate": candidate.entrant.identity.name,
        "baseline": baseline.entrant.baseline,
        "execution_provider": candidate.entrant.provider,
        "batch_size": batch_size,
    }
    for each, prefix in ((candidate, ""), (baseline, f"the {baseline.entrant.baseline}: ")):
        if batch_size in each.failures:
            status, cause = each.failures[batch_size]
            return LatencyRow(**common, status=status, cause=f"{prefix}{cause}")
    speedup = rounds.ratio(candidate, baseline, batch_size, confidence)
    times = rounds.times[candidate, batch_size]
    if speedup is None:
        cause = (
            f"the budget of {budget_seconds:g} s ended after {len(times)} of the {MIN_ROUNDS}"
            " rounds that an interval needs: give more budget seconds"
        )
        return LatencyRow(**common, status="skipped", cause=cause, rounds=len(times))
    baseline_times = rounds.times[baseline, batch_size]
    return LatencyRow(
        **common,
        status="measured",
        candidate_figures=figures(np.concatenate(times), batch_size),
        baseline_figures=figures(np.concatenate(baseline_times), batch_size),
        speedup=speedup,
        rounds=len(times),
    )
