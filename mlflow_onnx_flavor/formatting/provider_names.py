"""Names of execution providers in reports: the full name, a short one, one for metric names."""

from __future__ import annotations

import hashlib
import json

from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary


class ProviderNames:
    """Names that tell apart all providers of one release.

    Options, session options among them, are shown only where two providers of the release differ in
    nothing else.
    """

    def __init__(self, summary: ReleaseSummary):
        reports = [report for report in (summary.parity, summary.latency) if report is not None]
        self._seen: dict[str, dict[str, ExecutionProvider]] = {}
        for report in reports:
            for row in report.rows:
                provider = row.execution_provider
                self._seen.setdefault(provider.name, {})[_options(provider)] = provider

    @property
    def providers(self) -> tuple[ExecutionProvider, ...]:
        """Every provider that was tried, in the order of the evidence."""
        return tuple(provider for same in self._seen.values() for provider in same.values())

    def full(self, provider: ExecutionProvider) -> str:
        """Return the full name, such as "OpenVINOExecutionProvider"."""
        return provider.name + self._distinction(provider)

    def short(self, provider: ExecutionProvider) -> str:
        """Return a short name for terminals and plots, where space is scarce: "OpenVINO"."""
        return short(provider.name) + self._distinction(provider)

    def key(self, provider: ExecutionProvider) -> str:
        """Return the name for metrics: the same options give the same key in every release."""
        if not self._is_ambiguous(provider) or not (provider.options or provider.session_options):
            return provider.name
        return f"{provider.name}.{hashlib.sha256(_options(provider).encode()).hexdigest()[:6]}"

    def _distinction(self, provider: ExecutionProvider) -> str:
        if not self._is_ambiguous(provider):
            return ""
        both = [*sorted(provider.options.items()), *provider.session_settings.items()]
        given = ", ".join(f"{name}={value}" for name, value in both)
        return f" ({given or 'no options'})"

    def _is_ambiguous(self, provider: ExecutionProvider) -> bool:
        return len(self._seen.get(provider.name, {})) > 1


def short(name: str) -> str:
    """Return a provider's name without its ending: "CPU" for "CPUExecutionProvider"."""
    bare, bracket, settings = name.partition(" [")
    return (bare.removesuffix("ExecutionProvider") or bare) + bracket + settings


def _options(provider: ExecutionProvider) -> str:
    both = [provider.options, provider.session_options]
    return json.dumps(both if provider.session_options else provider.options, sort_keys=True)
