"""The steps of a release; each is an MLflow run and hands its run id to the next.

    log_source -> convert -> optimize -> check_parity, check_latency -> register -> promote

A step leaves artifacts of its run for the next (see `schemas/records.py`), so each step can run on
another machine against the same tracking server.
"""
