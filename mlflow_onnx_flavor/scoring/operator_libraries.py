"""Libraries of custom operators, which are loaded only where the session options name them."""

from __future__ import annotations

import importlib
import os

OPERATOR_LIBRARIES = "custom_operator_libraries"  # the session option
EXTENSIONS = "onnxruntime_extensions"  # the one library that has a name


def library_path(name: str) -> str:
    """Return the path of a library of custom operators.

    Raises ValueError where it is not installed, or ``name`` is not the absolute path of a file.
    """
    if name.replace("-", "_") == EXTENSIONS:
        try:
            return importlib.import_module(EXTENSIONS).get_library_path()
        except ImportError as error:
            raise ValueError(
                "the model's session options name onnxruntime-extensions, which is not installed;"
                " install it with: pip install onnxruntime-extensions"
            ) from error
    if not os.path.isabs(name) or not os.path.isfile(name):
        raise ValueError(
            f"session option {OPERATOR_LIBRARIES} takes {EXTENSIONS!r} or absolute paths of files,"
            f" not {name!r}"
        )
    return name
