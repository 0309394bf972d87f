"""`mlflow run . -e check_parity`: measure whether candidates and source agree."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step check_parity with the parameters of the command line."""
    arguments = parsed(__doc__, ["optimize_run_id"], ["config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.check_parity import check_parity

        run_id, report = check_parity(
            arguments.optimize_run_id,
            configuration_of(arguments),
            parent_run_id=arguments.parent_run_id,
        )
        measured = sum(row.status == "measured" for row in report.rows)
        return f"parity_run_id={run_id}\n{measured} of {len(report.rows)} rows measured"

    end(step)


if __name__ == "__main__":
    main()
