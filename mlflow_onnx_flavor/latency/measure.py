"""Measure every candidate against the source (and the champion) on every provider."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
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
from mlflow_onnx_flavor.latency.statistics import figures, speedup

SOURCE, CHAMPION = "source", "champion"


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
    on_progress: Callable[[str], None] | None = None,
) -> LatencyReport:
    """Time single ``predict`` calls of all, alternately, each in its own process as it is served.

    ``batch_sizes``: rows a call; ``inputs`` are repeated where they are fewer.  ``budget_seconds``:
    the most time to spend in rounds.  A model that fails is a row with its cause.
    """
    begun_ns = time.perf_counter_ns()
    note = on_progress or (lambda _text: None)
    entrants = _entrants(source_identity, source_path, candidates, execution_providers, champion)
    with tempfile.TemporaryDirectory(prefix="mlflow-onnx-latency-") as folder:
        inputs_path = inputs.save(Path(folder))
        participants = open_all(entrants, inputs_path, batch_sizes)
        try:
            rounds = []
            for batch_size in batch_sizes:
                note(f"timing batches of {batch_size}")
                rounds.append(Rounds(participants, batch_size, budget_seconds / len(batch_sizes)))
                rounds[-1].run([each.key for each in _baselines(entrants)], confidence)
            loads = [each.load_row() for each in participants]
        finally:
            for participant in participants:
                participant.close()
    return LatencyReport(
        source=source_identity,
        candidates=tuple(each.identity for each in candidates),
        inputs_digest=inputs.digest(),
        rows=tuple(_rows(participants, rounds, confidence)),
        loads=tuple(each for each in loads if each is not None),
        seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
        measuring_seconds=sum(each.seconds for each in rounds),
        environment=environment(framework_module(framework).distributions),
    )


def _entrants(
    source_identity: ModelIdentity,
    source_path: Path,
    candidates: Sequence[CandidateFolder],
    execution_providers: Sequence[ExecutionProvider],
    champion: CandidateFolder | None,
) -> list[Entrant]:
    entrants = [Entrant(source_identity, Path(source_path), None)]
    if champion is not None:
        entrants.append(Entrant(champion.identity, champion.folder, None))
    return entrants + [
        Entrant(candidate.identity, candidate.folder, provider)
        for provider in execution_providers
        for candidate in candidates
    ]


def _baselines(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Source and champion: what is served as it was logged, on no provider of this release."""
    return [each for each in entrants if each.provider is None]


def _rows(
    participants: Sequence[Participant], rounds: Sequence[Rounds], confidence: float
) -> list[LatencyRow]:
    baselines = [each for each in participants if each.entrant.provider is None]
    return [
        _row(participant, baseline, at_size, confidence)
        for participant in participants
        if participant.entrant.provider is not None
        for baseline in baselines
        for at_size in rounds
    ]


def _row(
    participant: Participant, baseline: Participant, rounds: Rounds, confidence: float
) -> LatencyRow:
    entrant = participant.entrant
    common = {
        "candidate": entrant.identity.name,
        "baseline": SOURCE if baseline.entrant.identity.name == SOURCE else CHAMPION,
        "execution_provider": entrant.provider,
        "batch_size": rounds.batch_size,
    }
    times = rounds.times.get(entrant.key, [])
    baseline_times = rounds.times.get(baseline.entrant.key, [])
    paired = min(len(times), len(baseline_times))
    for each, name in ((participant, ""), (baseline, f"the {common['baseline']}: ")):
        if not each.running:
            return LatencyRow(**common, status=each.status, cause=f"{name}{each.cause}")
    if paired == 0:
        return LatencyRow(**common, status="skipped", cause="the budget ended before a round did")
    return LatencyRow(
        **common,
        status="measured",
        candidate_figures=figures(np.concatenate(times), rounds.batch_size),
        baseline_figures=figures(np.concatenate(baseline_times), rounds.batch_size),
        speedup=speedup(baseline_times[:paired], times[:paired], confidence),
        rounds=paired,
    )
