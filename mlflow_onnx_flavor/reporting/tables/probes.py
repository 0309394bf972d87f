"""Tables of probes, of the rows that differ most, and of distances between scores."""

from __future__ import annotations

from collections.abc import Collection
from math import isinf

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.reporting.tables.parity import NOTHING, Cell, Table, table
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

_MOST_OF_A_COMPARISON = 3


def probes_table(summary: ReleaseSummary) -> Table:
    """Return the table of how many rows of each kind of probe the source accepts."""
    record = summary.parity.probes if summary.parity else None
    rows = list(record.rows.items()) if record else []
    return table(["Probes", ">Rows"], ((kind, numbers.count(number)) for kind, number in rows))


def probes_note(summary: ReleaseSummary) -> str:
    """Return why there are no probes if some were requested."""
    record = summary.parity.probes if summary.parity else None
    return f"no probes were made: {record.cause}" if record and record.cause else ""


def distances_table(summary: ReleaseSummary) -> Table:
    """Return the table of divergences of probabilities and cosines of embeddings.

    They are those at the largest batch.
    """
    names = ProviderNames(summary)
    reported = summary.parity.rows if summary.parity else ()
    largest = max((row.batch_size for row in reported), default=0)
    columns = ["Candidate", "Execution provider", "Inputs", "Output"]
    columns += [">Divergence, nats", ">Confidence shift", ">Least cosine"]
    return table(
        columns,
        (
            (
                row.candidate,
                names.full(row.execution_provider),
                row.inputs,
                output.name,
                *(
                    "" if value is None else form(value)
                    for value, form in (
                        (output.max_divergence, numbers.scientific),
                        (output.max_confidence_shift, numbers.scientific),
                        (output.min_cosine, lambda cosine: f"{cosine:.7f}"),
                    )
                ),
            )
            for row in reported
            if row.batch_size == largest
            for output in row.outputs
            if output.max_divergence is not None or output.min_cosine is not None
        ),
    )


def worst_table(summary: ReleaseSummary, candidates: Collection[str] | None = None) -> Table:
    """Return the table of the rows that differ most, at each comparison's largest batch size.

    ``candidates``: the candidates to include; None for all.
    """
    names = ProviderNames(summary)
    reported = summary.parity.rows if summary.parity else ()
    largest = max((row.batch_size for row in reported), default=0)
    return table(
        ["Candidate", "Execution provider", "Inputs", ">Row", "Kind", "Output", ">Scaled error"],
        (
            (
                row.candidate,
                names.full(row.execution_provider),
                row.inputs,
                numbers.count(each.row),
                each.kind or NOTHING,
                each.output,
                Cell("differs" if isinf(each.error) else numbers.scientific(each.error), "bad"),
            )
            for row in reported
            if row.batch_size == largest and (candidates is None or row.candidate in candidates)
            for each in row.worst[:_MOST_OF_A_COMPARISON]
        ),
    )
