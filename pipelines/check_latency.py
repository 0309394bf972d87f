"""`mlflow run . -e check_latency`: measure whether candidates are faster than the source."""

from pipelines.arguments import configuration_of, end, parsed


def main() -> None:
    """Run the step check_latency with the parameters of the command line."""
    arguments = parsed(__doc__, ["optimize_run_id"], ["champion_uri", "config", "parent_run_id"])

    def step() -> str:
        from mlflow_onnx_flavor.pipeline.check_latency import check_latency

        run_id, report = check_latency(
            arguments.optimize_run_id,
            configuration_of(arguments),
            champion_uri=arguments.champion_uri,
            parent_run_id=arguments.parent_run_id,
        )
        lines = [f"latency_run_id={run_id}"]
        lines += [
            f"{row.candidate} on {row.execution_provider}, batch {row.batch_size}:"
            f" {row.speedup or row.status} times as fast as the {row.baseline}"
            for row in report.rows
        ]
        return "\n".join(lines)

    end(step)


if __name__ == "__main__":
    main()
