"""Export a model to another framework, or as text: the public functions and their MLflow run.

exported = export("models:/fraud/3", to="pytorch", output="fraud-torch", data="eval.parquet")
exported.report.outcome, exported.report.speed
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor import api, flavor, targets
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.inputs import Inputs, as_inputs, input_example, read_evaluation_data
from mlflow_onnx_flavor.pipeline.runs import step_run
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.source.model import SourceModel, resolve_source
from mlflow_onnx_flavor.targets.export import ModelToExport, Settings, try_all
from mlflow_onnx_flavor.targets.export import export as export_to_target
from mlflow_onnx_flavor.targets.logged_form import log_exported
from mlflow_onnx_flavor.targets.report import ExportReport
from mlflow_onnx_flavor.targets.serialized import SerializedTarget, import_model


@dataclass(frozen=True)
class Exported:
    """The result of `export`.

    ``path``: the folder.  ``report``: the comparison with ONNX Runtime.  ``model_uri``: the URI
    under which the folder was logged, empty where it was not logged.  ``version``: the version that
    was registered, None where none was.
    """

    path: Path
    report: ExportReport
    model_uri: str = ""
    version: str | None = None


def export(
    model: str | Path,
    to: str,
    output: str | Path,
    *,
    data: Any = None,
    fix: Mapping[str, int] | None = None,
    precision: str = "float32",
    registered_model: str | None = None,
    log: bool = False,
    configuration: Configuration | None = None,
) -> Exported:
    """Write ``model`` for the target ``to`` into the new folder ``output``, and verify it.

    ``model``: a model URI, a folder with an MLmodel file or an ``.onnx`` file; a model that is not
    ONNX yet is converted first.  ``data``: rows, or a file of rows, to compare on; the model's
    input example where None.  ``fix``: sizes of open axes by their name.  ``precision``: "float16"
    stores weights in half precision where the target can.  ``registered_model``: the name under
    which the folder is logged to a run and registered.  ``log``: log the folder without registering
    it.

    Raises ConfigurationError for an unknown target, MissingFrameworkError for a target that is not
    installed, UnsupportedModelError for an operator, an axis or text that the target does not
    support, and GateFailedError where the exported model disagrees with ONNX Runtime. Nothing is
    left behind after an error.
    """
    targets.get(to)
    output, settings = Path(output), _settings(fix, precision, configuration)
    with _onnx_model(model, data, configuration) as onnx_model:
        report = export_to_target(onnx_model, to, output, settings)
    if not (registered_model or log):
        return Exported(output, report)
    if not (output / "MLmodel").is_file():
        raise ConfigurationError(
            f"the target {to!r} makes a file to read and no MLflow model, so it is not logged; it"
            f" is in {str(output)!r}"
        )
    with step_run("export"):
        info = log_exported(output, to, registered_model)
    version = info.registered_model_version
    return Exported(output, report, info.model_uri, None if version is None else str(version))


def where_it_runs(
    model: str | Path, *, data: Any = None, configuration: Configuration | None = None
) -> tuple[ExportReport, ...]:
    """Try every target with ``model``, as `export` does; return the reports and keep no folder."""
    settings = _settings(None, "float32", configuration)
    with _onnx_model(model, data, configuration) as onnx_model:
        return try_all(onnx_model, targets.names(), settings)


def import_graph(file: str | Path, output: str | Path) -> Path:
    """Write the graph in ``file`` (JSON, textproto or ONNX text) as the ONNX file ``output``.

    Raises ModelNotFoundError, ConfigurationError and UnsupportedModelError, as `import_model` does.
    """
    forms = [
        each for each in map(targets.get, targets.names()) if isinstance(each, SerializedTarget)
    ]
    return import_model(Path(file), Path(output), forms)


def _settings(
    fix: Mapping[str, int] | None, precision: str, configuration: Configuration | None
) -> Settings:
    configuration = configuration or Configuration()
    return Settings(
        fixed=dict(fix or {}),
        precision=precision,
        gate=configuration.gates.parity,
        batch_sizes=tuple(configuration.gates.latency.batch_sizes),
        probe_seed=configuration.probes.seed if configuration.probes.enabled else None,
    )


@contextmanager
def _onnx_model(
    model: str | Path, data: Any, configuration: Configuration | None
) -> Iterator[ModelToExport]:
    """Yield ``model`` as ONNX, with the rows that it is compared on."""
    source = resolve_source(str(model), rows_are_given=True)
    rows = _rows(source, data)
    if source.framework == "onnx":
        yield ModelToExport(source.folder, source.resolved_uri, rows)
        return
    with tempfile.TemporaryDirectory(prefix="mlflow-onnx-converted-") as work:
        conversion = api.convert(
            str(model), data, output_dir=Path(work) / "graph", configuration=configuration
        )
        folder = Path(work) / "model"
        flavor.save_model(
            conversion.path, folder, graph=conversion.graph, signature=source.signature
        )
        yield ModelToExport(folder, source.resolved_uri, rows)


def _rows(source: SourceModel, data: Any) -> tuple[Inputs, ...]:
    rows = []
    if isinstance(data, str | Path):
        rows.append(read_evaluation_data(str(data), source.signature))
    elif data is not None:
        rows.append(as_inputs(data, source.signature))
    if source.metadata is not None and source.signature is not None:
        example = input_example(source.metadata, source.folder, source.signature)
        rows += [example] if example is not None else []
    return tuple(rows)
