"""The whole release: source -> evidence -> verdict -> model version -> alias.

result = release("models:/fraud/3", "fraud-onnx", data="eval.parquet")
result.passed, result.version, result.summary
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlflow_onnx_flavor import candidates, registry
from mlflow_onnx_flavor._version import __version__
from mlflow_onnx_flavor.conversion.convert import Conversion
from mlflow_onnx_flavor.conversion.options import required_providers
from mlflow_onnx_flavor.errors import ConfigurationError, ConversionError, OnnxFlavorError
from mlflow_onnx_flavor.machine import execution_providers
from mlflow_onnx_flavor.pipeline import summarize
from mlflow_onnx_flavor.pipeline.check_latency import check_latency
from mlflow_onnx_flavor.pipeline.check_parity import check_parity
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.convert import convert
from mlflow_onnx_flavor.pipeline.log_source import (
    PreparedSource,
    link_inputs,
    log_source,
    prepare_source,
)
from mlflow_onnx_flavor.pipeline.optimize import optimize
from mlflow_onnx_flavor.pipeline.promote import promote
from mlflow_onnx_flavor.pipeline.publish import publish, run_url
from mlflow_onnx_flavor.pipeline.register import judge_runs, register, why_not
from mlflow_onnx_flavor.pipeline.runs import end_abandoned_runs, parent_of, step_run
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.redaction import redacted
from mlflow_onnx_flavor.reporting.console import Progress
from mlflow_onnx_flavor.schemas.configuration import Configuration, Promotion
from mlflow_onnx_flavor.schemas.records import (
    CONVERSION,
    CandidatesRecord,
    RegistrationRecord,
    SourceRecord,
)
from mlflow_onnx_flavor.schemas.summary import RegisteredVersion, ReleaseSummary, StepSummary
from mlflow_onnx_flavor.schemas.verdict import Verdict


@dataclass(frozen=True)
class Release:
    """The result of a release.

    ``passed``: every gate passed.  ``version``: the registered version, None where none was
    created. ``promoted``: whether the alias now points to it.  ``report_uri``: the URI of the HTML
    report.
    """

    passed: bool
    version: str | None
    promoted: bool
    run_id: str
    report_uri: str
    summary: ReleaseSummary


def release(
    model_uri: str,
    registered_model: str,
    *,
    data: Any = None,
    configuration: Configuration | None = None,
    promote_alias: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Release:
    """Convert, verify, register and promote the model that ``model_uri`` names.

    ``data``: evaluation data, as a file or as rows; the model's input example where None.
    ``promote_alias``: move the alias of the configuration when every gate passes.  ``dry_run``:
    measure and judge, but leave the registry unchanged.

    A failed gate raises no exception: see ``Release.passed``.  Raises the errors of
    `mlflow_onnx_flavor.errors`; the release's run then holds what was measured so far, and the
    report.
    """
    configuration = configuration or Configuration()
    progress = progress or Progress(quiet=True)
    _check_request(registered_model, configuration)
    with progress("reading the source model and the data"):
        prepared = prepare_source(model_uri, data, configuration)
    end_abandoned_runs()
    with step_run("release") as run:
        return _Release(run, registered_model, configuration, progress).run(
            prepared, promote_alias=promote_alias, dry_run=dry_run
        )


def _check_request(registered_model: str, configuration: Configuration) -> None:
    """Raise ConfigurationError for a request that must fail, before a model is loaded."""
    if not registered_model.strip() or set(registered_model) & set("/:"):
        raise ConfigurationError(
            f"the registered model needs a name without '/' and ':', not {registered_model!r}"
        )
    candidates.check_names(configuration.candidates)
    execution_providers.check_requested(list(required_providers(configuration)))


class _Release:
    """One release in progress: runs the steps and collects the summary, also after an error."""

    def __init__(
        self, run, registered_model: str, configuration: Configuration, progress: Progress
    ):
        self.run_id = run.info.run_id
        self.experiment_id = run.info.experiment_id
        self.registered_model = registered_model
        self.configuration = configuration
        self.progress = progress
        self.context = ReleaseContext(configuration, progress.note)
        self.champion: str | None = None
        self.found: dict[str, Any] = {}
        self.steps: list[StepSummary] = []

    def run(self, prepared: PreparedSource, *, promote_alias: bool, dry_run: bool) -> Release:
        """Run the steps and publish the report, also where a step raises an OnnxFlavorError."""
        source = self._step(
            "log_source", "logging the source", lambda: log_source(prepared, self.configuration)
        )
        self.context.keep_source(source, prepared.source)
        self.found["source"] = summarize.summarize_source(source)
        self.found["data"] = summarize.summarize_data(source)
        link_inputs(source, prepared.evaluation or prepared.example, self.run_id)
        try:
            parity_run_id, latency_run_id = self._measure(source)
            _, verdict = judge_runs(parity_run_id, latency_run_id, self.configuration)
            self.found["verdict"] = verdict
            if dry_run:
                self.found["promotion"] = self._would(verdict, promote_alias)
                return self._published(version=None, promoted=False)
            if not verdict.passed:
                self.found["promotion"] = why_not(verdict)
                return self._published(version=None, promoted=False)
            return self._register(parity_run_id, latency_run_id, promote_alias)
        except OnnxFlavorError as error:
            if isinstance(error, ConversionError):
                self.found["conversion"] = summarize.summarize_conversion(error.attempts, None)
            self.found["error"] = str(error)
            self._published(version=None, promoted=False)
            raise

    def _measure(self, source: SourceRecord) -> tuple[str, str]:
        """Convert, optimize and measure; return the ids of the parity run and the latency run."""
        with SpareWorkers(self._processes()) as self.context.spares:
            with self.context.source_process(source):
                built, parity_run_id = self._make_candidates(source)
            latency_run_id, self.found["latency"] = self._step(
                "check_latency",
                "measuring latency",
                lambda: check_latency(
                    built.run_id,
                    self.configuration,
                    champion_uri=self._champion(),
                    context=self.context,
                ),
            )
        return parity_run_id, latency_run_id

    def _processes(self) -> int:
        """Return how many processes will hold candidates.

        The parity check needs one for each provider, the latency check one for each candidate on
        each provider.
        """
        providers = len(required_providers(self.configuration))
        return providers + providers * len(self.configuration.candidates)

    def _make_candidates(self, source: SourceRecord) -> tuple[CandidatesRecord, str]:
        """Run the steps that call the source, which is loaded once for all of them."""
        configuration, context = self.configuration, self.context
        converted = self._step(
            "convert",
            f"converting the {source.framework} model",
            lambda: convert(source.run_id, configuration, context=context),
        )
        conversion = context.record(converted.run_id, CONVERSION, Conversion)
        self.found["conversion"] = summarize.summarize_conversion(conversion.attempts, conversion)
        built = self._step(
            "optimize",
            "building the other candidates",
            lambda: optimize(converted.run_id, configuration, context=context),
        )
        self.found["skipped"] = summarize.summarize_skipped(built)
        self.found["tuning"] = summarize.summarize_tuning(built)
        parity_run_id, self.found["parity"] = self._step(
            "check_parity",
            "checking that the answers agree",
            lambda: check_parity(built.run_id, configuration, context=context),
        )
        return built, parity_run_id

    def _register(self, parity_run_id: str, latency_run_id: str, promote_alias: bool) -> Release:
        promotion = self.configuration.promotion
        registered: RegistrationRecord = self._step(
            "register",
            f"registering {self.registered_model}",
            lambda: register(
                parity_run_id,
                latency_run_id,
                self.registered_model,
                self.configuration,
                summary=self._summary(),
            ),
        )
        moved = None
        self.found["promotion"] = f"alias {promotion.alias!r} was left where it is, as asked"
        self.found["registered"] = _registered_version(registered, promotion, moved)
        if promote_alias:
            moved = self._step(
                "promote",
                f"moving alias {promotion.alias}",
                lambda: promote(
                    self.registered_model,
                    registered.version,
                    self.configuration,
                    why=f"release run {self.run_id}",
                    expected=self.champion,
                    after_rollback=False,
                ),
            )
            came_from = f"version {moved.moved_from}" if moved.moved_from else "nowhere: it is new"
            self.found["promotion"] = (
                f"alias {promotion.alias!r} now points to version {moved.moved_to}"
                f" (before: {came_from})"
            )
            self.found["registered"] = _registered_version(registered, promotion, moved)
        return self._published(version=registered.version, promoted=moved is not None)

    def _step(self, name: str, doing: str, work: Callable[[], Any]) -> Any:
        begun_ns = time.perf_counter_ns()
        with self.progress(doing):
            result = work()
        seconds = (time.perf_counter_ns() - begun_ns) / 1e9
        record = result if hasattr(result, "run_id") else None
        run_id = record.run_id if record else result[0] if isinstance(result, tuple) else ""
        url = run_url(self.experiment_id, run_id) if run_id else ""
        self.steps.append(
            StepSummary(
                name=name,
                seconds=seconds,
                run_id=run_id,
                url=url,
                reused=bool(run_id) and parent_of(run_id) != self.run_id,
            )
        )
        return result

    def _champion(self) -> str | None:
        """Return the URI of the version that serves now; None where there is none.

        `promote` expects the alias to point to that version still.
        """
        alias = self.configuration.promotion.alias
        self.champion = registry.aliased_version(self.registered_model, alias)
        return f"models:/{self.registered_model}/{self.champion}" if self.champion else None

    def _would(self, verdict: Verdict, promote_alias: bool) -> str:
        if not verdict.passed:
            return f"dry run: {why_not(verdict)}"
        sentence = f"dry run: {verdict.chosen!r} would be registered as {self.registered_model!r}"
        if promote_alias:
            sentence += f" and alias {self.configuration.promotion.alias!r} moved to it"
        return sentence

    def _summary(self) -> ReleaseSummary:
        summary = ReleaseSummary(
            package_version=__version__,
            finished_at=summarize.now(),
            registered_model=self.registered_model,
            configuration=self.configuration,
            run_id=self.run_id,
            run_url=run_url(self.experiment_id, self.run_id),
            steps=tuple(self.steps),
            **self.found,
        )
        return redacted(summary)

    def _published(self, version: str | None, promoted: bool) -> Release:
        summary = self._summary()
        with self.progress("writing the report"):
            report_uri = publish(summary)
        verdict = summary.verdict
        return Release(
            passed=verdict is not None and verdict.passed,
            version=version,
            promoted=promoted,
            run_id=self.run_id,
            report_uri=report_uri,
            summary=summary,
        )


def _registered_version(
    record: RegistrationRecord, promotion: Promotion, moved: registry.Movement | None
) -> RegisteredVersion:
    return RegisteredVersion(
        name=record.name,
        version=record.version,
        uri=record.model_uri,
        digest=record.digest,
        alias=promotion.alias if moved else "",
        alias_moved_from=moved.moved_from if moved else None,
        alias_moved_to=moved.moved_to if moved else None,
    )
