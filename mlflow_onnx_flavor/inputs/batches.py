"""`Inputs`: rows to feed a model, in the form in which MLflow's pyfunc passes them to a model.

A column signature means a pandas DataFrame, an unnamed tensor a numpy array, named tensors a
dictionary of numpy arrays; in each the first axis is the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.processes.array_files import read_arrays
from mlflow_onnx_flavor.schemas.origins import EVALUATION_DATA

InputData: TypeAlias = pd.DataFrame | np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """Rows to feed a model.

    ``data`` is a DataFrame, an array of shape (rows, ...) or a dictionary of such arrays.
    ``origin`` says where the rows come from: "evaluation data", "input example", or "probes".
    """

    data: InputData
    origin: str = EVALUATION_DATA

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        if isinstance(self.data, dict):
            return len(next(iter(self.data.values())))
        return len(self.data)

    def take(self, indices: np.ndarray | slice | list[int]) -> Inputs:
        """Return the rows at ``indices`` (integers or a slice), in that order, with their index."""
        if isinstance(self.data, pd.DataFrame):
            return Inputs(self.data.iloc[indices], self.origin)
        if isinstance(self.data, dict):
            return Inputs({name: a[indices] for name, a in self.data.items()}, self.origin)
        return Inputs(self.data[indices], self.origin)

    def batch(self, size: int, start: int = 0) -> Inputs:
        """Return ``size`` rows from row ``start`` on, wrapping around at the last row."""
        return self.take((start + np.arange(size)) % self.rows)

    def batches(self, size: int) -> Iterator[Inputs]:
        """Yield all rows once, in consecutive batches of ``size``; the last may be shorter."""
        for start in range(0, self.rows, size):
            yield self.take(slice(start, min(start + size, self.rows)))

    @staticmethod
    def joined(parts: Sequence[Inputs], origin: str) -> Inputs:
        """Concatenate all rows of several parts, which have the same columns, names and dtypes."""
        first = parts[0].data
        if isinstance(first, pd.DataFrame):
            whole = pd.concat([part.data for part in parts], ignore_index=True)
            return Inputs(whole.astype(first.dtypes.to_dict()), origin)
        if isinstance(first, dict):
            names = {name: np.concatenate([part.data[name] for part in parts]) for name in first}
            return Inputs(names, origin)
        return Inputs(np.concatenate([part.data for part in parts]), origin)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of names, dtypes, shapes and values."""
        sha = hashlib.sha256()
        for name, values in self._named_columns():
            sha.update(f"{name}|{values.dtype}|{getattr(values, 'shape', None)}|".encode())
            if isinstance(values, pd.Series):
                sha.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
            elif values.dtype == object:
                sha.update(repr(values.tolist()).encode())
            else:
                sha.update(np.ascontiguousarray(values).tobytes())
        return sha.hexdigest()

    def _named_columns(self) -> list[tuple[str, Any]]:
        if isinstance(self.data, pd.DataFrame):
            return [(str(name), self.data[name]) for name in self.data.columns]
        if isinstance(self.data, dict):
            return list(self.data.items())
        return [("", self.data)]

    def save(self, folder: Path) -> Path:
        """Write ``inputs.parquet`` or ``inputs.npz`` into ``folder`` and return the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.data, pd.DataFrame):
            path = folder / "inputs.parquet"
            self.data.to_parquet(path)
            return path
        path = folder / "inputs.npz"
        arrays = self.data if isinstance(self.data, dict) else {_UNNAMED: self.data}
        plain: dict[str, Any] = {name: _without_objects(a) for name, a in arrays.items()}
        np.savez(path, **plain)
        return path

    def save_exactly(self, folder: Path) -> Path:
        """Write as `save` does, or as `hand_over` if a column has categories that are not text.

        Such categories come back from Parquet as numbers.
        """
        dtypes = self.data.dtypes if isinstance(self.data, pd.DataFrame) else ()
        categories = [each for each in dtypes if isinstance(each, pd.CategoricalDtype)]
        of_numbers = any(each.categories.dtype.kind in "iufb" for each in categories)
        return self.hand_over(folder) if of_numbers else self.save(folder)

    def hand_over(self, folder: Path) -> Path:
        """Write the rows for another process that reads them at once, and return the file's path.

        It writes what `save` does, but a frame as ``inputs.arrow``, which is mapped into memory
        instead of being compressed and unpacked.
        """
        if not isinstance(self.data, pd.DataFrame):
            return self.save(folder)
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=True)
        path, table = folder / "inputs.arrow", pa.Table.from_pandas(self.data)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return path

    @classmethod
    def load(cls, path: Path, origin: str = EVALUATION_DATA) -> Inputs:
        """Read a file that `save` or `hand_over` wrote.

        Object arrays of strings come back as objects; they are never pickled.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            return cls(pd.read_parquet(path), origin)
        if path.suffix == ".arrow":
            import pyarrow as pa

            with pa.memory_map(str(path)) as source:
                return cls(pa.ipc.open_file(source).read_pandas(), origin)
        arrays = {name: _with_objects(array) for name, array in read_arrays(path).items()}
        if list(arrays) == [_UNNAMED]:
            return cls(arrays[_UNNAMED], origin)
        return cls(arrays, origin)


_UNNAMED = "__unnamed__"


def _without_objects(array: np.ndarray) -> np.ndarray:
    return array.astype(str) if array.dtype == object else array


def _with_objects(array: np.ndarray) -> np.ndarray:
    return array.astype(object) if array.dtype.kind == "U" else array
