"""`mlflow run . -e convert`: convert the source model and log the ONNX model."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step convert with the parameters of the command line."""
    arguments = parsed(__doc__, ["source_run_id"], ["config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.convert import convert

        record = convert(
            arguments.source_run_id,
            configuration_of(arguments),
            parent_run_id=arguments.parent_run_id,
        )
        return f"convert_run_id={record.run_id} model_uri={record.model_uri}"

    end(step)


if __name__ == "__main__":
    main()
