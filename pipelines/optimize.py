"""`mlflow run . -e optimize`: build and log the other candidates."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step optimize with the parameters of the command line."""
    arguments = parsed(__doc__, ["convert_run_id"], ["config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.optimize import optimize

        record = optimize(
            arguments.convert_run_id,
            configuration_of(arguments),
            parent_run_id=arguments.parent_run_id,
        )
        lines = [f"optimize_run_id={record.run_id}"]
        lines += [f"{each.name}: {each.model_uri}" for each in record.candidates]
        lines += [f"{each.name}: skipped, {each.cause}" for each in record.skipped]
        return "\n".join(lines)

    end(step)


if __name__ == "__main__":
    main()
