"""`mlflow run . -e rollback`: put the alias back on the previous version."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Move the alias back with the parameters of the command line."""
    arguments = parsed(__doc__, ["registered_model"], ["alias", "config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.promote import rollback

        movement = rollback(
            arguments.registered_model,
            configuration_of(arguments).promotion,
            parent_run_id=arguments.parent_run_id,
        )
        return (
            f"alias {movement.alias!r} of {movement.name!r} points to version {movement.moved_to}"
            f" (before: {movement.moved_from or 'none'})"
        )

    end(step)


if __name__ == "__main__":
    main()
