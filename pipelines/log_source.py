"""`mlflow run . -e log_source`: record the source model and the rows to release it on."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step log_source with the parameters of the command line."""
    arguments = parsed(__doc__, ["model_uri"], ["data", "config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.log_source import log_source, prepare_source

        configuration = configuration_of(arguments)
        prepared = prepare_source(arguments.model_uri, arguments.data, configuration)
        record = log_source(prepared, configuration, parent_run_id=arguments.parent_run_id)
        return f"source_run_id={record.run_id}"

    end(step)


if __name__ == "__main__":
    main()
