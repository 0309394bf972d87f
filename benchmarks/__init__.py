"""Benchmarks, which are never part of the test run."""
