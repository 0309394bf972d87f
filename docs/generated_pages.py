"""Pages that are made from the code: the command line from its parser, the configuration from its schema."""

from __future__ import annotations

import argparse

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    pages = {
        "reference/cli.md": command_line(),
        "reference/configuration.md": configuration(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def command_line() -> str:
    """Return the page of every verb with its options, as ``--help`` shows them."""
    from mlflow_onnx_flavor.cli.parser import build_parser

    parser = build_parser()
    verbs = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    parts = [
        "# Command line\n",
        "Every verb takes `--json` (one JSON document on standard output), `--tracking-uri` and"
        " `--quiet`.\n",
        "| Exit status | Meaning |\n| --- | --- |\n"
        "| 0 | done, and promoted if that was asked |\n| 1 | an error |\n| 2 | wrong usage |\n"
        "| 3 | a gate failed |\n| 4 | the model cannot be converted |\n",
    ]
    for name, verb in sorted(verbs.choices.items()):
        formatter = argparse.HelpFormatter(prog=f"mlflow-onnx {name}", width=90)
        formatter.add_usage(verb.usage, verb._actions, verb._mutually_exclusive_groups)
        rows = [
            f"| {_spelled(action)} | {(action.help or '').replace('|', chr(92) + '|')} |"
            for action in verb._actions
            if action.help != argparse.SUPPRESS and "--help" not in action.option_strings
        ]
        parts += [
            f"## {name}\n",
            f"{(verb.description or '').strip().capitalize()}.\n",
            f"```text\n{formatter.format_help().strip()}\n```\n",
            "| Argument | Meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n",
        ]
    return "\n".join(parts)


def configuration() -> str:
    """Return the page of every key with its default and what it means."""
    from mlflow_onnx_flavor.configuration_file import defaults_as_yaml

    return (
        "# Configuration\n\n"
        "`--config FILE` takes YAML or JSON. Every key is optional. A key that is unknown is refused"
        " with the nearest one that is known. This is what `mlflow-onnx release --print-config`"
        f" prints, with every default:\n\n```yaml\n{defaults_as_yaml().strip()}\n```\n"
    )


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    takes = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"`{action.option_strings[-1]}{takes}`"
