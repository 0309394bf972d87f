"""The steps as plain functions on model URIs, folders, files or live models, without MLflow runs.

conversion = convert("models:/fraud/3")
report = check_parity("models:/fraud/3", conversion.path, "eval.parquet")
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.artifact.digests import digest_of, size_of
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.conversion.convert import Conversion, convert_model
from mlflow_onnx_flavor.conversion.options import conversion_options
from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs import Inputs, as_inputs, input_example, read_evaluation_data
from mlflow_onnx_flavor.inputs.readers.streams import evaluation_data
from mlflow_onnx_flavor.machine import execution_providers as providers
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    LatencyReport,
    ModelIdentity,
    ParityReport,
)
from mlflow_onnx_flavor.scoring.runtimes import CPU
from mlflow_onnx_flavor.source.environment import interpreter
from mlflow_onnx_flavor.source.live_model import save_live_model
from mlflow_onnx_flavor.source.model import SourceModel, fetch_artifact, resolve_source
from mlflow_onnx_flavor.source.pickle_scan import check_pickles
from mlflow_onnx_flavor.source.process import started

ProviderRequest = str | dict[str, Any] | ExecutionProvider


def convert(
    source: Any,
    inputs: Any = None,
    *,
    output_dir: str | Path | None = None,
    configuration: Configuration | None = None,
) -> Conversion:
    """Convert ``source`` to ONNX, trying export strategies in order until one is correct.

    ``source``: a model URI, a folder with an MLmodel file, or a live model (a scikit-learn
    estimator, torch.nn.Module, Keras model, XGBoost or LightGBM model), which then needs
    ``inputs``.  ``inputs``: rows, or a file of rows; the model's input example where None.
    ``output_dir``: the folder for ``model.onnx``; where None, a new temporary folder, which the
    caller owns.  ``configuration``: its ``source_env`` and the limits of ``conversion`` apply.

    Raises ConversionError with the record of attempts.
    """
    configuration = configuration or Configuration()
    with (
        _destination(output_dir) as folder,
        _resolved(source, inputs, configuration) as model,
        started(model.folder, model.framework, configuration) as worker,
    ):
        evaluation, example = _rows(model, inputs)
        return convert_model(
            model.folder,
            model.framework,
            example or evaluation,
            evaluation,
            folder,
            worker=worker,
            **conversion_options(configuration, model),
        )


@contextmanager
def _destination(output_dir: str | Path | None) -> Iterator[Path]:
    """Yield the output folder, created if needed; a temporary folder is removed after an error."""
    if output_dir is not None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="mlflow-onnx-conversion-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check_parity(
    source: Any,
    candidate: str | Path,
    inputs: Any = None,
    execution_providers: Sequence[ProviderRequest] | None = None,
    *,
    configuration: Configuration | None = None,
    worst_inputs: str | Path | None = None,
    resume: str | Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> ParityReport:
    """Compare the answers of source and candidate, on every provider and at every batch size.

    ``source`` and ``inputs``: the same as for `convert`.  ``candidate``: a model URI, a folder with
    an MLmodel file, or an ``.onnx`` file.  ``execution_providers``: names, or dictionaries with
    name and options; every provider present where None.  ``worst_inputs``: a folder for the rows
    that disagree most, written as a file that can be passed as ``inputs``.  ``resume``: a file that
    keeps the progress on large data, so that the same call continues there after it was stopped.

    A Parquet, Arrow or CSV file of more than 200,000 rows is read and compared in batches.
    """
    from mlflow_onnx_flavor import parity

    configuration = configuration or Configuration()
    requested = _providers(execution_providers, configuration, providers.available())
    with (
        _resolved(source, inputs, configuration) as model,
        started(model.folder, model.framework, configuration) as worker,
    ):
        more = None
        if isinstance(inputs, str | Path):
            inputs, more = evaluation_data(inputs, model.signature)
        evaluation, example = _rows(model, inputs)
        return parity.measure(
            parity.Plan(
                model.folder,
                model.framework,
                [_candidate(candidate)],
                evaluation,
                example,
                requested,
                batch_sizes=configuration.gates.latency.batch_sizes,
                source_identity=model.identity,
                source_worker=worker,
                probe_seed=configuration.probes.seed if configuration.probes.enabled else None,
                worst_inputs=Path(worst_inputs) if worst_inputs is not None else None,
                more=more,
                resume=Path(resume) if resume is not None else None,
                on_progress=on_progress,
            )
        )


def check_latency(
    source: Any,
    candidate: str | Path,
    inputs: Any = None,
    execution_providers: Sequence[ProviderRequest] | None = None,
    *,
    configuration: Configuration | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> LatencyReport:
    """Measure source and candidate side by side, on every provider and at every batch size.

    The arguments are those of `check_parity`; without ``execution_providers`` the CPU is used.
    """
    from mlflow_onnx_flavor import latency
    from mlflow_onnx_flavor.latency.statistics import Precision

    configuration = configuration or Configuration()
    requested = _providers(execution_providers, configuration, [CPU])
    with _resolved(source, inputs, configuration) as model:
        evaluation, example = _rows(model, inputs)
        extra = frameworks.get(model.framework).extra
        return latency.measure(
            latency.Plan(
                model.folder,
                model.framework,
                [_candidate(candidate)],
                evaluation or example,
                requested,
                batch_sizes=configuration.gates.latency.batch_sizes,
                confidence=configuration.gates.latency.confidence,
                budget_seconds=configuration.budget.seconds,
                source_identity=model.identity,
                source_python=interpreter(model.folder, extra, configuration.source_env),
                options=configuration.latency,
                precision=Precision.for_gate(configuration.gates.latency),
                on_progress=on_progress,
            )
        )


@contextmanager
def _resolved(source: Any, inputs: Any, configuration: Configuration) -> Iterator[SourceModel]:
    if isinstance(source, str | Path):
        model = resolve_source(str(source), configuration.source_env, inputs is not None)
        if configuration.scan_source:
            check_pickles(model.folder, str(source))
        yield model
        return
    with temporary_folder("live") as folder:
        saved = save_live_model(source, inputs, Path(folder) / "model")
        yield resolve_source(str(saved), rows_are_given=True)


def _rows(model: SourceModel, inputs: Any) -> tuple[Inputs | None, Inputs | None]:
    """Return the evaluation data and the input example; at least one of them is not None."""
    evaluation = None
    if isinstance(inputs, str | Path):
        evaluation = read_evaluation_data(str(inputs), model.signature)
    elif inputs is not None:
        evaluation = as_inputs(inputs, model.signature)
    example = None
    if model.metadata is not None and model.signature is not None:
        example = input_example(model.metadata, model.folder, model.signature)
    if evaluation is None and example is None:
        raise InvalidDataError(
            f"{model.uri!r} has no input example, so there is nothing to run it on; give inputs"
            " (rows, or a Parquet, CSV, Arrow or npz file)"
        )
    return evaluation, example


def _candidate(candidate: str | Path) -> CandidateFolder:
    folder = fetch_artifact(str(candidate))
    identity = ModelIdentity(
        name="candidate", uri=str(candidate), digest=digest_of(folder), size_bytes=size_of(folder)
    )
    return CandidateFolder(identity, folder)


def _providers(
    requested: Sequence[ProviderRequest] | None, configuration: Configuration, default: list[str]
) -> list[ExecutionProvider]:
    if requested:
        chosen = [_provider(each) for each in requested]
    else:
        chosen = list(configuration.execution_providers or ()) or [
            ExecutionProvider(name=name) for name in default
        ]
    providers.check_requested(chosen)
    return chosen


def _provider(request: ProviderRequest) -> ExecutionProvider:
    if isinstance(request, ExecutionProvider):
        return request
    if isinstance(request, str):
        return ExecutionProvider(name=request)
    return ExecutionProvider.model_validate(request)
