"""The parity check as an evaluator of `mlflow.models.evaluate`, under the name "onnx_parity".

    mlflow.models.evaluate(
        "models:/fraud-onnx/4",
        data,
        model_type="classifier",
        targets="label",
        evaluators="onnx_parity",
        evaluator_config={"source_model_uri": "models:/fraud/3"},
    )

Metrics "onnx_parity/..." can be held against thresholds with `mlflow.validate_evaluation_results`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import mlflow
from mlflow.models.evaluation.artifacts import JsonEvaluationArtifact
from mlflow.models.evaluation.base import EvaluationResult, ModelEvaluator

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.gates import judge_parity, judged, tolerance_of, upper_bound
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.schemas.configuration import Configuration, ParityGate
from mlflow_onnx_flavor.schemas.evidence import OutputParity, ParityReport
from mlflow_onnx_flavor.scoring.runtimes import CPU

NAME = "onnx_parity"
SOURCE, CANDIDATE, CONFIGURATION = "source_model_uri", "candidate_model_uri", "configuration"
REPORT_FILE = "onnx_parity.json"


class ParityEvaluator(ModelEvaluator):
    """An evaluator that compares a model with its source on every requested provider.

    ``evaluator_config``: ``source_model_uri`` (required); ``candidate_model_uri``, where MLflow
    does not know the id of the evaluated model; ``execution_providers``, names or dictionaries with
    name and options, the CPU by default; ``configuration``, a dictionary as in release.yaml.
    """

    @classmethod
    def can_evaluate(cls, *, model_type: Any, evaluator_config: dict[str, Any], **_: Any) -> bool:
        """Return whether the configuration names a source.

        MLflow offers each evaluation to every evaluator.
        """
        return SOURCE in (evaluator_config or {})

    def evaluate(
        self,
        *,
        model_type: Any,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any],
        model: Any = None,
        **_: Any,
    ) -> EvaluationResult:
        """Measure parity, log metrics and the report to run ``run_id``, and return both."""
        from mlflow_onnx_flavor import api

        configuration = Configuration.model_validate(evaluator_config.get(CONFIGURATION) or {})
        report = api.check_parity(
            evaluator_config[SOURCE],
            _candidate_uri(evaluator_config, model),
            dataset.features_data,
            evaluator_config.get("execution_providers") or [CPU],
            configuration=configuration,
        )
        metrics = parity_metrics(report, configuration.gates.parity)
        client = mlflow.MlflowClient()
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        document = report.model_dump(mode="json")
        with temporary_folder("evaluator") as folder:
            file = Path(folder) / REPORT_FILE
            file.write_text(json.dumps(document, indent=2), encoding="utf-8")
            client.log_artifact(run_id, str(file))
        uri = f"{client.get_run(run_id).info.artifact_uri}/{REPORT_FILE}"
        artifact = JsonEvaluationArtifact(uri=uri, content=document)
        return EvaluationResult(metrics=metrics, artifacts={NAME: artifact}, run_id=run_id)


def parity_metrics(report: ParityReport, gate: ParityGate) -> dict[str, float]:
    """Return the worst value over all rows of the report for each metric, suitable for alarms.

    ``disagreement_bound`` is the one-sided upper bound on the true rate at the gate's confidence.
    """
    rows = judged(report.rows, gate)
    outputs = [output for row in rows for output in row.outputs]
    rates = [_disagreements(each, gate) / each.rows for each in outputs]
    bounds = [
        upper_bound(_disagreements(each, gate), each.rows, gate.confidence) for each in outputs
    ]
    errors = [each.max_absolute_error for each in outputs if each.kind == "scores"]
    unmeasured = sum(row.status != "measured" for row in rows)
    passed = all(finding.passed for finding in judge_parity(report, gate))
    found = {
        "passed": float(passed),
        "disagreement_rate": max(rates, default=1.0),
        "disagreement_bound": max(bounds, default=1.0),
        "max_absolute_error": max(errors, default=0.0),
        "form_differences": float(sum(len(row.form_differences) for row in rows)),
        "rows_not_measured": float(unmeasured),
    }
    return {f"{NAME}/{name}": float(value) for name, value in found.items()}


def _disagreements(output: OutputParity, gate: ParityGate) -> int:
    return output.disagreements(tolerance_of(output, gate))


def _candidate_uri(evaluator_config: dict[str, Any], model: Any) -> str:
    if CANDIDATE in evaluator_config:
        return cast(str, evaluator_config[CANDIDATE])
    model_id = getattr(model, "model_id", None)
    if not model_id:
        raise ConfigurationError(
            "MLflow does not say which model is evaluated, since it was not logged; name it with"
            f" evaluator_config={{'{CANDIDATE}': ...}}"
        )
    return f"models:/{model_id}"
