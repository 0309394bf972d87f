"""Start workers ahead of their work, since importing mlflow takes more than a second.

While the source is converted on one core, the processes that will hold candidates start on the
others.
"""

from __future__ import annotations

from mlflow_onnx_flavor.processes.worker import PRELOADED, Worker

# An idle worker takes about 150 MB.
MAX_SPARES = 6


class SpareWorkers:
    """Workers for candidates, ready or starting; a context manager that ends those left over."""

    def __init__(self, number: int = 0):
        self._ready = [Worker(preload=PRELOADED) for _ in range(min(number, MAX_SPARES))]

    def take(self, name: str) -> Worker:
        """Return a worker for the caller to own: a spare one, or a new one if none is left."""
        while self._ready:
            worker = self._ready.pop(0)
            if worker.alive:
                worker.name = name
                return worker
            worker.close()
        return Worker(name=name, preload=PRELOADED)

    def __enter__(self) -> SpareWorkers:
        return self

    def __exit__(self, *_exc: object) -> None:
        for worker in self._ready:
            worker.close()
        self._ready.clear()
