"""`mlflow run . -e promote`: move the alias to a version whose evidence passes."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step promote with the parameters of the command line."""
    arguments = parsed(
        __doc__, ["registered_model", "version"], ["alias", "config", "parent_run_id"]
    )

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.promote import promote

        movement = promote(
            arguments.registered_model,
            arguments.version,
            configuration_of(arguments),
            parent_run_id=arguments.parent_run_id,
        )
        return (
            f"alias {movement.alias!r} of {movement.name!r} points to version {movement.moved_to}"
            f" (before: {movement.moved_from or 'none'})"
        )

    end(step)


if __name__ == "__main__":
    main()
