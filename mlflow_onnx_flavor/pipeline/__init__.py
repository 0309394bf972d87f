"""The steps of a release: each is an MLflow run, and hands the next its run id.

    log_source -> convert -> optimize -> check_parity, check_latency -> register -> promote

What a step leaves for the next are artifacts of its run (`records.py`), so each can run on another
machine against the same tracking server.
"""
