"""The registry's model card: a short description of a version in Markdown, and searchable tags."""

from __future__ import annotations

import re

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.text import one_line, shorten
from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary
from mlflow_onnx_flavor.schemas.tags import VERDICT_TAG

LONGEST_TAG = 500
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$])")


def describe_version(summary: ReleaseSummary) -> str:
    """Return Markdown for the registered version's description; external names are escaped."""
    verdict, conversion, data = summary.verdict, summary.conversion, summary.data
    source = _code(summary.source.resolved_uri or summary.source.uri)
    facts = [("Source", source + _in_parentheses(summary.source.framework))]
    if conversion is not None and conversion.strategy is not None:
        opset = f", opset {conversion.opset}" if conversion.opset else ""
        facts.append(("Conversion", f"{_plain(conversion.strategy)}{opset}"))
        doubts = [each.cause for each in conversion.attempts if each.outcome == "converted"]
        facts += [("Doubtful", _plain(doubt)) for doubt in filter(None, doubts)]
    if verdict is not None and verdict.chosen is not None:
        facts.append(("Candidate", f"{_plain(verdict.chosen)} on {_plain(str(verdict.serve_on))}"))
    worst = headline.worst_error(summary)
    if worst is not None:
        of_data = f" of {_plain(data.name)}" if data else ""
        rows = f"{numbers.count(worst.rows)} rows{of_data}"
        facts.append(("Parity", f"worst error {_plain(str(worst))} over {rows}"))
    for batch_size, speedup in headline.speedups(summary):
        value = f"{numbers.interval(speedup)} times as fast as the source"
        facts.append((f"Batch {numbers.count(batch_size)}", value))
    if verdict is not None and verdict.chosen is not None:
        held = verdict.of(verdict.chosen)
        passed = sum(finding.passed for finding in held)
        facts.append(("Gates", f"{passed} of {len(held)} hold"))
    if summary.run_id:
        facts.append(("Evidence", _evidence(summary)))
    listed = "\n".join(f"- **{name}:** {value}" for name, value in facts)
    return f"ONNX release of {source}.\n\n{listed}\n"


def tags(summary: ReleaseSummary) -> dict[str, str]:
    """Return tags of the registered version, all prefixed "onnx."; empty values are left out."""
    verdict, conversion = summary.verdict, summary.conversion
    worst, speedups = headline.worst_error(summary), headline.speedups(summary)
    values = {
        VERDICT_TAG: headline.outcome(summary),
        "onnx.source": summary.source.resolved_uri or summary.source.uri,
        "onnx.framework": summary.source.framework,
        "onnx.strategy": (conversion.strategy or "") if conversion else "",
        "onnx.opset": str(conversion.opset or "") if conversion else "",
        "onnx.candidate": (verdict.chosen or "") if verdict else "",
        "onnx.execution_provider": str(verdict.serve_on or "") if verdict else "",
        "onnx.worst_error": "" if worst is None else str(worst),
        DIGEST_TAG: summary.registered.digest if summary.registered else "",
        "onnx.run_id": summary.run_id,
    }
    for batch_size, speedup in speedups:
        values[f"onnx.speedup.batch_{batch_size}"] = numbers.ratio(speedup.estimate)
    return {name: shorten(one_line(text), LONGEST_TAG) for name, text in values.items() if text}


def _evidence(summary: ReleaseSummary) -> str:
    run = f"run {_code(summary.run_id)}"
    if summary.run_url.startswith(("http://", "https://")):
        # Characters that would end the link's target are percent-encoded.
        url = re.sub(r"[\s()<>\"]", lambda found: f"%{ord(found[0]):02X}", summary.run_url)
        run = f"[{run}]({url})"
    return f"reports of {run}"


def _in_parentheses(text: str) -> str:
    return f" ({_plain(text)})" if text else ""


def _code(text: str) -> str:
    return f"`{one_line(text).replace('`', chr(39))}`"


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", one_line(text))
