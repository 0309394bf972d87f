"""The light faces of the frameworks: found by their folders, and nothing heavy behind them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import Framework
from mlflow_onnx_flavor.frameworks.face import Face

HEAVY = (
    *("torch", "tensorflow", "keras", "tf2onnx", "sklearn", "skl2onnx", "xgboost", "lightgbm"),
    *("catboost", "transformers", "tokenizers", "onnxscript", "onnx_ir", "onnxruntime"),
)
_ASKED_IN_THE_PARENT = f"""
import sys
from mlflow_onnx_flavor import frameworks
for name in frameworks.supported():
    face = frameworks.get(name)
    flavors = {{flavor: {{"task": "ner"}} for flavor in face.flavors}}
    assert frameworks.recognise(flavors) == name
    frameworks.check_installed(name)
print(*sorted(set(sys.modules) & set({HEAVY!r})))
"""


def test_asking_every_face_imports_no_framework():
    asked = subprocess.run(
        [sys.executable, "-c", _ASKED_IN_THE_PARENT], capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == ""


def test_every_folder_with_an_inside_has_a_face():
    folder = Path(frameworks.__file__).parent
    assert set(frameworks.supported()) == {
        each.parent.name for each in folder.glob("*/framework.py")
    }
    assert all(isinstance(face, Face) for face in frameworks.faces().values())


@pytest.mark.parametrize("name", frameworks.supported())
def test_every_inside_keeps_the_contract(name):
    inside = frameworks.load(name)
    assert isinstance(inside, Framework)


def test_no_two_frameworks_claim_one_flavor():
    claimed = [flavor for face in frameworks.faces().values() for flavor in face.flavors]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize(
    ("flavors", "counts"),
    [
        ({"sklearn": {}, "xgboost": {}}, "xgboost"),
        ({"sklearn": {}, "lightgbm": {}, "python_function": {}}, "lightgbm"),
        ({"onnx": {}, "pytorch": {}}, "pytorch"),
        ({"onnx": {}, "sklearn": {}}, "sklearn"),
        ({"onnx": {}, "mlflow_onnx_flavor": {}}, "onnx"),
    ],
)
def test_of_several_flavors_the_one_that_made_the_model_counts(flavors, counts):
    assert frameworks.recognise(flavors) == counts
    assert frameworks.is_onnx(flavors) == (counts == "onnx")


def test_the_flavor_of_this_package_counts_before_mlflow_s_own():
    assert (
        frameworks.flavor_of({"onnx": {}, "mlflow_onnx_flavor": {}}, "onnx") == "mlflow_onnx_flavor"
    )


def test_a_flavor_of_the_kin_is_refused_with_what_to_do():
    with pytest.raises(UnsupportedModelError, match=r"sentence_transformers; .*feature-extraction"):
        frameworks.recognise({"sentence_transformers": {}, "python_function": {}})
