"""`mlflow run . -e register`: judge the evidence and register the chosen artifact."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step register with the parameters of the command line."""
    arguments = parsed(
        __doc__,
        ["parity_run_id", "latency_run_id", "registered_model"],
        ["config", "parent_run_id"],
    )

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.register import register

        record = register(
            arguments.parity_run_id,
            arguments.latency_run_id,
            arguments.registered_model,
            configuration_of(arguments),
            parent_run_id=arguments.parent_run_id,
        )
        return f"version={record.version} model_uri={record.model_uri} digest={record.digest}"

    end(step)


if __name__ == "__main__":
    main()
