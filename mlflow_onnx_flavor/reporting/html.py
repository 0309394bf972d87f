"""The report for a browser: one file with everything in it, no script and no network access."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.text import printable
from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.reporting.plots import figures, frame
from mlflow_onnx_flavor.reporting.tables import (
    latency as latency_tables,
)
from mlflow_onnx_flavor.reporting.tables import (
    noise,
)
from mlflow_onnx_flavor.reporting.tables import (
    parity as tables,
)
from mlflow_onnx_flavor.reporting.tables import (
    probes as probe_tables,
)
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_DESCRIPTIONS = {
    "error_distribution": "Share of rows whose error is above x, per candidate and provider",
    "latency": "Median and 99th percentile of one call by batch size, source and candidates",
    "latency_distribution": "Share of calls that took at most x, source and candidates",
    "speedup": "Speed-up over the source with its confidence interval",
    "throughput": "Rows per second over the time of one call, by batch size",
}


@dataclass(frozen=True)
class Fact:
    """A figure at the top of the page."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class CandidateGates:
    """The findings of one candidate, gate by gate."""

    name: str
    chosen: bool
    passed: bool
    why: str
    table: tables.Table


def render_html(summary: ReleaseSummary, drawn: Mapping[str, Figure] | None = None) -> str:
    """Return the report of ``summary`` as one HTML document; all external text is escaped.

    ``drawn``: its `plots.figures`, if the caller has them already.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlflow_onnx_flavor.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_fit_to_print,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = _with_code
    drawn = figures.figures(summary) if drawn is None else drawn
    return environment.get_template("report.html").render(
        summary=summary,
        outcome=headline.outcome(summary),
        sentence=headline.sentence(summary),
        alias_change=headline.alias_change(summary),
        subtitle=_subtitle(summary),
        facts=_facts(summary),
        next_steps=headline.next_steps(summary),
        candidates=_candidates(summary),
        problems=tables.problems(summary),
        plots={name: _data_uri(figure) for name, figure in drawn.items()},
        plot_descriptions=PLOT_DESCRIPTIONS,
        command=headline.reproduce_command(summary),
        configuration=_configuration(summary),
        is_link=_is_link,
        tables=tables,
        probe_tables=probe_tables,
        latency_tables=latency_tables,
        noise=noise,
        figures=numbers,
    )


def _subtitle(summary: ReleaseSummary) -> str:
    parts = (
        f"from {summary.source.uri}",
        summary.source.framework,
        summary.finished_at and f"finished {summary.finished_at}",
        summary.package_version and f"mlflow-onnx-flavor {summary.package_version}",
    )
    return ", ".join(filter(None, parts))


def _facts(summary: ReleaseSummary) -> list[Fact]:
    verdict, registered = summary.verdict, summary.registered
    facts = []
    if verdict is not None and verdict.chosen is not None:
        facts.append(Fact("Candidate", verdict.chosen, f"on {verdict.serve_on}"))
    if registered is not None:
        version = f"{registered.name} version {registered.version}"
        facts.append(Fact("Registered", version, headline.alias_change(summary)))
    speedups = headline.speedups(summary)
    if speedups:
        batch, first = speedups[0]
        others = "; ".join(
            f"batch {numbers.count(size)}: {numbers.interval(value)}" for size, value in speedups
        )
        label = f"Speed-up, batch {numbers.count(batch)}"
        facts.append(Fact(label, f"{numbers.ratio(first.estimate)}×", others))
    worst = headline.worst_error(summary)
    if worst is not None:
        if worst.absolute_error is not None:
            value = numbers.scientific(worst.absolute_error)
            where = f"absolute, in {worst.output} on {worst.execution_provider}"
            facts.append(Fact("Worst error", value, where))
        if worst.label_disagreements is not None:
            differ = numbers.count(worst.label_disagreements)
            facts.append(Fact("Labels that differ", differ, f"of {numbers.count(worst.rows)} rows"))
    if verdict is not None and not verdict.passed:
        failed, all_findings = len(verdict.failures()), len(verdict.findings)
        names = ", ".join(headline.judged_candidates(summary))
        facts.append(Fact("Gates failed", f"{failed} of {all_findings}", names))
    return facts


def _candidates(summary: ReleaseSummary) -> list[CandidateGates]:
    """Return each judged candidate's findings: the chosen one first, then those that failed."""
    shown: list[CandidateGates] = []
    verdict = summary.verdict
    if verdict is None:
        return shown
    for name in headline.judged_candidates(summary):
        findings = verdict.of(name)
        chosen = name == verdict.chosen
        shown.append(
            CandidateGates(
                name=name,
                chosen=chosen,
                passed=all(finding.passed for finding in findings),
                why="" if chosen else headline.why_not_chosen(summary, name),
                # Failures come first: a reader looks for them.
                table=tables.gates_table(sorted(findings, key=lambda finding: finding.passed)),
            )
        )
    return shown


def _configuration(summary: ReleaseSummary) -> str:
    """Return the configuration of the release as the YAML file that --config reads."""
    if summary.configuration is None:
        return ""
    import yaml

    return yaml.safe_dump(summary.configuration.model_dump(mode="json"), sort_keys=False)


def _data_uri(figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(frame.svg(figure).encode()).decode()


def _with_code(text: str):
    """Return the escaped text, with the parts between backticks set as code."""
    from markupsafe import Markup

    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        return text
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _is_link(url: str) -> bool:
    """Return whether the address may become a link: "javascript:" and the like stay text."""
    return url.startswith(("http://", "https://"))


def _fit_to_print(value):
    # Markup, which the template itself wrote, is a str subclass and must stay one.
    return printable(value) if type(value) is str else value
