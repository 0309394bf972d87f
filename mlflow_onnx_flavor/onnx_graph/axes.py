"""Axes of a graph's inputs."""

from __future__ import annotations

# An axis of an input: the input's name ("" for an array without one) and the axis's number.
Axis = tuple[str, int]
