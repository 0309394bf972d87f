"""`mlflow run . -e export`: write a model for another framework, prove it and register it."""

from pipelines.arguments import end, parsed, several


def main() -> None:
    """Export a model with the parameters of the command line."""
    arguments = parsed(
        __doc__, ["model_uri", "to", "output"], ["data", "config", "fix", "registered_model"]
    )

    def step() -> str:
        from mlflow_onnx_flavor.cli.verbs.export import axes
        from mlflow_onnx_flavor.configuration_file import read_configuration
        from mlflow_onnx_flavor.pipeline.export import export

        exported = export(
            arguments.model_uri,
            arguments.to,
            arguments.output,
            data=arguments.data or None,
            fix=axes(several(arguments.fix)),
            registered_model=arguments.registered_model or None,
            configuration=read_configuration(arguments.config or None),
        )
        return (
            f"path={exported.path} outcome={exported.report.outcome} model_uri={exported.model_uri}"
        )

    end(step)


if __name__ == "__main__":
    main()
