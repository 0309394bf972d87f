"""Publish a release in its MLflow run: metrics, parameters, plots and reports."""

from __future__ import annotations

from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.reporting.html import render_html
from mlflow_onnx_flavor.reporting.junit import render_junit
from mlflow_onnx_flavor.reporting.metrics import metrics
from mlflow_onnx_flavor.reporting.model_card import describe_version
from mlflow_onnx_flavor.reporting.plots.figures import figures
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary
from mlflow_onnx_flavor.schemas.tags import VERDICT_TAG

REPORT, JUNIT, SUMMARY = "report.html", "junit.xml", "summary.json"


def publish(summary: ReleaseSummary) -> str:
    """Log everything about the release to the active run; return the URI of the HTML report."""
    import mlflow

    mlflow.log_params(_parameters(summary))
    mlflow.log_metrics(metrics(summary))
    _log_metrics_of_candidates(summary)
    mlflow.set_tags(_tags(summary) | {"mlflow.note.content": describe_version(summary)})
    mlflow.log_text(summary.to_json(), SUMMARY)
    mlflow.log_text(render_junit(summary), JUNIT)
    drawn = figures(summary)
    mlflow.log_text(render_html(summary, drawn), REPORT)
    for name, figure in drawn.items():
        mlflow.log_figure(figure, f"plots/{name}.png")
    _link_chosen(summary)
    return mlflow.get_artifact_uri(REPORT)


def run_url(experiment_id: str, run_id: str) -> str:
    """Return the address of the run in the MLflow UI; "" for a store without a server."""
    import mlflow

    server = mlflow.get_tracking_uri()
    if not server.startswith("http"):
        return ""
    return redact(f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}")


def _parameters(summary: ReleaseSummary) -> dict[str, object]:
    """Under names of their own: `mlflow run` logs the entry point's parameters, quoted, as well."""
    parameters: dict[str, object] = {
        "source_uri": summary.source.resolved_uri,
        "framework": summary.source.framework,
        "registered_as": summary.registered_model,
    }
    if summary.conversion and summary.conversion.strategy:
        parameters["strategy"] = summary.conversion.strategy
        parameters["opset"] = summary.conversion.opset
    if summary.verdict and summary.verdict.chosen:
        parameters["chosen"] = summary.verdict.chosen
    configuration = summary.configuration or Configuration()
    for gate, section in configuration.gates:
        for name, value in section:
            parameters[f"gates.{gate}.{name}"] = value
    return parameters


def _tags(summary: ReleaseSummary) -> dict[str, str]:
    passed = summary.verdict is not None and summary.verdict.passed
    tags = {VERDICT_TAG: "passed" if passed else "error" if summary.error else "failed"}
    if summary.registered:
        tags["onnx.registered"] = summary.registered.uri
    return tags


def _log_metrics_of_candidates(summary: ReleaseSummary) -> None:
    """Log each candidate's metrics on its own page too, where MLflow compares models."""
    import mlflow

    if summary.parity is None:
        return
    for candidate in summary.parity.candidates:
        marker = f".{candidate.name}."
        mine = {
            name.replace(marker, "."): value
            for name, value in metrics(summary).items()
            if marker in name
        }
        if mine and candidate.uri.startswith("models:/m-"):
            mlflow.log_metrics(mine, model_id=candidate.uri.removeprefix("models:/"))


def _link_chosen(summary: ReleaseSummary) -> None:
    """Link the release's run to the chosen candidate, as MLflow's output."""
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput

    if summary.parity is None or summary.verdict is None or summary.verdict.chosen is None:
        return
    uri = next(
        each.uri for each in summary.parity.candidates if each.name == summary.verdict.chosen
    )
    output = LoggedModelOutput(uri.removeprefix("models:/"), step=0)
    MlflowClient().log_outputs(summary.run_id, [output])
