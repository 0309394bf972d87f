"""How generated models are tried: the same ones in every run, without a limit for one of them."""

from hypothesis import HealthCheck, settings


def generated(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
