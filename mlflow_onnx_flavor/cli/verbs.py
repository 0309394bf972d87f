"""The verbs but `release`: each prints for a person, or one JSON document, and returns a status."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pydantic import BaseModel

from mlflow_onnx_flavor.cli.ending import DONE, GATE_FAILED, NOT_CONVERTIBLE
from mlflow_onnx_flavor.cli.parser import print_json
from mlflow_onnx_flavor.configuration_file import overridden, read_configuration
from mlflow_onnx_flavor.formatting.text import plain_table
from mlflow_onnx_flavor.gates import judge_latency, judge_parity
from mlflow_onnx_flavor.reporting.console import Progress, print_latency, print_parity
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.verdict import Finding
from mlflow_onnx_flavor.source.environment import environment_note


def convert(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import api

    with Progress(quiet=arguments.quiet)("converting"):
        conversion = api.convert(
            arguments.model_uri,
            arguments.data,
            output_dir=arguments.output,
            configuration=_of_source(arguments),
        )
    if arguments.json:
        print_json(conversion.model_dump(mode="json"))
        return DONE
    rows = [
        (each.strategy, each.outcome, f"{each.seconds:.2f} s", each.cause)
        for each in conversion.attempts
    ]
    _say_environment(conversion)
    print(plain_table(("strategy", "outcome", "time", "cause"), rows))
    print(f"{conversion.path} (outputs: {', '.join(conversion.output_names)})")
    return DONE


def explain(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor.explanation import explain as explain_model

    with Progress(quiet=arguments.quiet)("trying to convert the model"):
        explanation = explain_model(
            arguments.model_uri,
            arguments.data,
            configuration=_of_source(arguments),
        )
    if arguments.json:
        print_json(explanation.model_dump(mode="json"))
        return DONE if explanation.converts else NOT_CONVERTIBLE
    print(f"{explanation.model_uri}: {explanation.description}")
    _say_environment(explanation)
    print("These strategies are tried, in this order, until one is right:")
    tried = explanation.strategies
    rows = [(each.strategy, each.exporter, each.outcome, each.why) for each in tried]
    print(plain_table(("strategy", "exporter", "outcome", "why"), rows))
    if explanation.converts:
        for doubt in (each.cause for each in tried if each.outcome == "converted" and each.cause):
            print(f"Doubtful: {doubt}")
        return DONE
    print("It cannot be converted:")
    for cause in dict.fromkeys(each.cause for each in tried):
        names = [each.strategy for each in tried if each.cause == cause]
        print(f"  {', '.join(names)}: {cause}")
    for remedy in dict.fromkeys(filter(None, (each.remedy for each in tried))):
        print(f"  remedy: {remedy}")
    return NOT_CONVERTIBLE


def parity(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import api

    configuration = _configuration(arguments)
    progress = Progress(quiet=arguments.quiet)
    with progress("comparing the answers"):
        report = api.check_parity(
            arguments.source,
            arguments.candidate,
            arguments.data,
            arguments.execution_provider and configuration.execution_providers,
            configuration=configuration,
            worst_inputs=arguments.worst_inputs,
            resume=arguments.resume,
            on_progress=progress.note,
        )
    findings = judge_parity(report, configuration.gates.parity)
    return _measured(report, findings, arguments.json, print_parity)


def latency(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import api

    configuration = overridden(_configuration(arguments), batch_sizes=arguments.batch_size)
    progress = Progress(quiet=arguments.quiet)
    with progress("measuring latency"):
        report = api.check_latency(
            arguments.source,
            arguments.candidate,
            arguments.data,
            arguments.execution_provider and configuration.execution_providers,
            configuration=configuration,
            on_progress=progress.note,
        )
    findings = judge_latency(report, configuration.gates.latency)
    return _measured(report, findings, arguments.json, print_latency)


def providers(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from mlflow_onnx_flavor.machine import execution_providers

    found = [asdict(each) for each in execution_providers.describe()]
    if arguments.json:
        print_json(found)
        return DONE
    rows = [
        (
            each["name"],
            each["kind"],
            f"{each['package']} {each['version']}",
            _joined(each["devices"]),
        )
        for each in found
    ]
    print(plain_table(("execution provider", "kind", "package", "devices"), rows))
    return DONE


def promote(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.pipeline.promote import policy_of
    from mlflow_onnx_flavor.pipeline.promote import promote as promote_step

    configuration = read_configuration(arguments.config)
    configuration = overridden(configuration, alias=arguments.alias, trust=_trust(arguments))
    promotion = configuration.promotion
    if arguments.dry_run:
        movement = registry.promote(
            arguments.registered_model,
            arguments.version,
            promotion.alias,
            previous_alias=promotion.previous_alias,
            policy=policy_of(configuration),
            dry_run=True,
        )
        return _moved(movement, arguments.json, "would point")
    movement = promote_step(arguments.registered_model, arguments.version, configuration)
    return _moved(movement, arguments.json, "now points")


def rollback(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor.pipeline.promote import rollback as rollback_step

    promotion = overridden(Configuration(), alias=arguments.alias).promotion
    return _moved(
        rollback_step(arguments.registered_model, promotion), arguments.json, "now points"
    )


def history(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry

    movements = registry.history(arguments.registered_model)
    if arguments.json:
        print_json([each.model_dump() for each in movements])
        return DONE
    if not movements:
        print(f"no alias of {arguments.registered_model!r} was moved by a release")
        return DONE
    rows = [
        (
            each.when,
            each.who,
            each.action,
            each.alias,
            each.moved_from or "-",
            each.moved_to,
            each.why,
        )
        for each in movements
    ]
    print(plain_table(("when", "who", "action", "alias", "from", "to", "why"), rows))
    return DONE


def copy(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry

    name = arguments.to_name or arguments.registered_model
    version = registry.copy(
        arguments.registered_model,
        arguments.version,
        to_name=arguments.to_name,
        to_uri=arguments.to_tracking_uri,
    )
    if arguments.json:
        print_json({"name": name, "version": version, "at": arguments.to_tracking_uri})
    else:
        where = f" at {arguments.to_tracking_uri}" if arguments.to_tracking_uri else ""
        print(f"version {version} of {name!r}{where}; its evidence passes, and no alias moved")
    return DONE


def gc(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry

    found = registry.superseded(
        arguments.registered_model,
        keep=arguments.keep,
        older_than_days=arguments.older_than_days,
    )
    if arguments.delete:
        registry.remove(found)
    if arguments.json:
        print_json(
            {"removed": arguments.delete, "superseded": [each.model_dump() for each in found]}
        )
        return DONE
    if found:
        rows = [(each.kind, each.name, each.id, f"{each.age_days:.1f}") for each in found]
        print(plain_table(("kind", "name", "version or id", "days old"), rows))
    number = f"{len(found)} of {arguments.registered_model!r}"
    print(f"{number} removed" if arguments.delete else f"{number} may go: add --delete to remove")
    return DONE


def verify(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry

    configuration = overridden(Configuration(), trust=_trust(arguments))
    trust = configuration.trust if _trust(arguments) else None
    verification = registry.verify(arguments.model_uri, trust)
    if arguments.json:
        print_json(verification.model_dump(mode="json"))
        return DONE
    print(
        f"{arguments.model_uri} is version {verification.version} of {verification.name!r}, the"
        f" artifact that was verified ({verification.digest}), and passes its gates"
        + (", signed by whom you trust" if verification.signed else "")
    )
    if not (verification.evidence_known or verification.signed):
        print(
            "It was registered before evidence had a digest: whether its evidence was changed since"
            " is not known. Release it again, or sign it, to have that checked."
        )
    return DONE


def sign(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.schemas.configuration import SigningKey

    key = SigningKey(
        private_key=arguments.private_key,
        certificate=arguments.certificate,
        certificate_chain=tuple(arguments.certificate_chain or ()),
    )
    registry.sign_version(arguments.registered_model, arguments.version, key)
    signed = {"name": arguments.registered_model, "version": arguments.version}
    if arguments.json:
        print_json(signed)
    else:
        print(f"signed version {signed['version']} of {signed['name']!r} and its evidence")
    return DONE


def _trust(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of whose signature is wanted; nothing where it says nothing."""
    given = {
        "public_key": arguments.public_key,
        "certificate_chain": arguments.certificate_chain,
        "identity": arguments.identity,
        "oidc_issuer": arguments.oidc_issuer,
    }
    known = {name: value for name, value in given.items() if value}
    if known or getattr(arguments, "require_signature", False):
        known["require_signature"] = True
    return known


def _of_source(arguments: argparse.Namespace) -> Configuration:
    return overridden(
        Configuration(), source_env=arguments.source_env, scan_source=arguments.scan_source
    )


def _configuration(arguments: argparse.Namespace) -> Configuration:
    return overridden(
        read_configuration(arguments.config),
        execution_providers=arguments.execution_provider,
        source_env=arguments.source_env,
        scan_source=arguments.scan_source,
    )


def _say_environment(said: Any) -> None:
    """Where the source ran otherwise than it recorded, of a conversion or an explanation."""
    note = environment_note(said.differences, tuple(said.versions))
    if note:
        print(note)


def _measured(report: BaseModel, findings: tuple[Finding, ...], as_json: bool, print_report) -> int:
    passed = all(finding.passed for finding in findings)
    if as_json:
        print_json(
            {
                "passed": passed,
                "report": report.model_dump(mode="json"),
                "findings": [finding.model_dump(mode="json") for finding in findings],
            }
        )
    else:
        print_report(report, findings, file=sys.stdout)
    return DONE if passed else GATE_FAILED


def _moved(movement: Any, as_json: bool, verb: str) -> int:
    if as_json:
        print_json(movement.model_dump())
        return DONE
    before = f"version {movement.moved_from}" if movement.moved_from else "none"
    print(
        f"alias {movement.alias!r} of {movement.name!r} {verb} to version {movement.moved_to}"
        f" (before: {before})"
    )
    return DONE


def _joined(values: list[str] | tuple[str, ...]) -> str:
    return ", ".join(values)
