"""Files that declare more than they hold, or more than can be read, end in one sentence at once."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow.models  # noqa: F401  (not to be timed)
import numpy as np
import pandas as pd
import pytest
import yaml

import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.configuration_file import parse_configuration, read_configuration
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    CorruptModelError,
    InvalidDataError,
    OnnxFlavorError,
)
from mlflow_onnx_flavor.inputs.readers.evaluation import read_evaluation_data
from mlflow_onnx_flavor.inputs.readers.files import read_table
from mlflow_onnx_flavor.processes import serialization
from mlflow_onnx_flavor.scoring.documents import DocumentError, parse_json, parse_yaml
from tests.onnx_graphs import doubling

ROWS = np.ones((4, 2), np.float32)


@contextmanager
def at_once(seconds: float = 10.0) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    assert time.perf_counter() - begun < seconds


def header(shape: str, dtype: str = "<f8") -> bytes:
    """Of a .npy file, of any shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def bomb(path: Path) -> None:
    """6.4 GB of zeros in a few MB."""
    values = 800_000_000
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(header(f"({values},)"))
        chunk = bytes(64_000_000)
        for _ in range(values * 8 // len(chunk)):
            member.write(chunk)


def small_npz(path: Path) -> bytes:
    np.savez_compressed(path, x=np.arange(1000.0))
    return path.read_bytes()


def member_that_lies(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header("(1099511627776,)") + b"\0" * 80)


def no_array(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.txt", "no array")


FILES = {
    "bomb.npz": bomb,
    "lies.npz": member_that_lies,
    "text.npz": no_array,
    "empty.npz": lambda path: path.write_bytes(b""),
    "cut.npz": lambda path: path.write_bytes(small_npz(path)[:-300]),
    "middle.npz": lambda path: path.write_bytes(
        small_npz(path)[:400] + b"\xff" * 200 + small_npz(path)[600:]
    ),
    "huge.npy": lambda path: path.write_bytes(header("(1099511627776,)")),
    "huger.npy": lambda path: path.write_bytes(header("(1099511627776, 1099511627776)")),
    "negative.npy": lambda path: path.write_bytes(header("(-1,)") + bytes(80)),
    "nothing.npy": lambda path: path.write_bytes(header("(1099511627776,)", "|V0")),
    "objects.npy": lambda path: path.write_bytes(header("(1,)", "|O") + b"cos\nsystem\n"),
    "nested.npy": lambda path: path.write_bytes(header("(" * 4000 + ")" * 4000)),
    "long.npy": lambda path: path.write_bytes(
        b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + b" " * 1000
    ),
    "open.npy": lambda path: path.write_bytes(header("(3,")),
    "empty.npy": lambda path: path.write_bytes(b""),
    "cut.npy": lambda path: path.write_bytes(header("(10,)") + bytes(79)),
    "wide.csv": lambda path: path.write_text(",".join(map(str, range(1_000_000))) + "\n1\n"),
    "index.csv": lambda path: path.write_text("\n\na\n" + "1," * 1_000_000 + "\n"),
    "quoted.csv": lambda path: path.write_text('"a\n\n\nb",' + "x," * 1_000_000 + "\n1\n"),
    "empty.csv": lambda path: path.write_text(""),
    "cut.parquet": lambda path: path.write_bytes(b"PAR1" + b"\0" * 100),
    "empty.parquet": lambda path: path.write_bytes(b""),
    "cut.arrow": lambda path: path.write_bytes(b"ARROW1\0\0" + b"\xff" * 100),
}


@pytest.mark.parametrize("name", FILES)
def test_evaluation_data_that_cannot_be_read_is_one_sentence(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    with at_once(), pytest.raises(InvalidDataError, match=name.replace(".", r"\.")) as raised:
        read_evaluation_data(str(path), None)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


def test_files_that_can_be_read_are(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(3, 2),
        "text": np.array(["a", "bc", "d"]),
        "none": np.zeros((3, 0)),
        "fortran": np.asfortranarray(np.ones((3, 2), np.int8)),
    }
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays, zeros=np.zeros((3, 1_000_000)))
    np.save(tmp_path / "one.npy", arrays["a"])
    np.lib.format.write_array((tmp_path / "v2.npy").open("wb"), arrays["a"], version=(2, 0))
    for name in ("plain.npz", "packed.npz"):
        found = read_table(tmp_path / name)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)
    for name in ("one.npy", "v2.npy"):
        np.testing.assert_array_equal(read_table(tmp_path / name)[""], arrays["a"])
    wide = pd.DataFrame(np.ones((2, 3000)), columns=[f"c{at}" for at in range(3000)])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    assert read_table(tmp_path / "wide.csv").shape == (2, 3000)


ALIASES = "a0: &a0 [1, 1]\n" + "".join(
    f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]\n" for at in range(1, 12)
)
YAML = {
    "aliases": ALIASES,
    "merged": "a0: &a0 {k: 1}\n"
    + "".join(f"a{at}: &a{at} {{{', '.join(f'k{n}: *a{at - 1}' for n in range(10))}}}\n"
              for at in range(1, 12)),
    "itself": "a: &a [*a]",
    "nested": "[" * 5000 + "]" * 5000,
    "indented": "".join("  " * at + "a:\n" for at in range(600)),
    "date": "a: 2020-99-99",
    "digits": "a: " + "1" * 5000,
    "sixties": "a: " + ":".join(["1"] * 50_000),
    "many": "[" + "1," * 600_000 + "1]",
    "key": "? [1]\n: 2",
    "cut": "a: [1, 2",
    "tag": "a: !!python/object/apply:os.system [ls]",
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_cannot_be_read_is_one_sentence(tmp_path, name):
    with at_once(), pytest.raises(DocumentError):
        parse_yaml(YAML[name])
    (tmp_path / "release.yaml").write_text(YAML[name])
    with at_once(), pytest.raises(ConfigurationError, match="release.yaml is not valid: it ") as e:
        read_configuration(tmp_path / "release.yaml")
    assert "\n" not in str(e.value) and len(str(e.value)) < 1000
    (tmp_path / "MLmodel").write_text(YAML[name])
    with at_once(), pytest.raises(CorruptModelError, match="no readable MLmodel file"):
        mlflow_onnx_flavor.convert(str(tmp_path), ROWS)
    with at_once(), pytest.raises(ValueError, match="an MLmodel file that names no flavors: it "):
        scoring.load_session(str(tmp_path))


def test_yaml_within_the_limits_is_read():
    shared = parse_yaml("a: &a {b: [1, 2]}\nc: *a\nd: [*a, *a]\n")
    assert shared["c"] == shared["d"][1] == {"b": [1, 2]}
    feeds = [{"name": f"c{at}", "dtype": "float32", "columns": [f"c{at}"]} for at in range(10_000)]
    assert parse_yaml(yaml.dump({"feeds": feeds}, Dumper=yaml.CSafeDumper))["feeds"] == feeds


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_json_nested_deeply_is_one_sentence(tmp_path, text, monkeypatch):
    with at_once(), pytest.raises(DocumentError, match="nested deeper than 100"):
        parse_json(text)
    (tmp_path / "release.json").write_text(text)
    with pytest.raises(ConfigurationError, match="is not valid: it is nested deeper than 100"):
        read_configuration(tmp_path / "release.json")
    monkeypatch.setenv("MLFLOW_ONNX_SESSION_OPTIONS", text)
    with pytest.raises(ValueError, match="SESSION_OPTIONS is no JSON: it is nested deeper"):
        scoring.load_session(str(doubling(tmp_path / "m.onnx")))


def test_brackets_within_text_are_no_depth():
    text = json.dumps({"a": "[" * 5000, "b": 'quo"te[' * 200, "c": "\\" + "{" * 500})
    assert parse_json(text) == json.loads(text)


def test_of_many_unknown_keys_the_first_are_named():
    with at_once(), pytest.raises(ConfigurationError, match="; and 99980 more") as raised:
        parse_configuration({f"key {at}": at for at in range(100_000)})
    assert len(str(raised.value)) < 10_000


def test_a_long_value_is_not_repeated_in_the_message():
    with pytest.raises(ConfigurationError) as raised:
        parse_configuration({"budget": {"seconds": "x" * 100_000}})
    assert len(str(raised.value)) < 1000


def test_an_input_example_nested_deeply_is_one_sentence(tmp_path):
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=ROWS)
    written = yaml.safe_load((path / "MLmodel").read_text())
    example = path / written["saved_input_example_info"]["artifact_path"]
    example.write_text("[" * 50_000 + "]" * 50_000)
    with at_once(), pytest.raises(OnnxFlavorError, match="input example.*nested deeper"):
        mlflow_onnx_flavor.convert(str(path))
    written["saved_input_example_info"]["artifact_path"] = "../../elsewhere.json"
    (path / "MLmodel").write_text(yaml.safe_dump(written))
    with pytest.raises(CorruptModelError, match="input example in .* outside its own folder"):
        mlflow_onnx_flavor.convert(str(path))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "MLmodel")
    with at_once(), pytest.raises(CorruptModelError, match="no regular file"):
        mlflow_onnx_flavor.convert(str(tmp_path), ROWS)


@pytest.mark.parametrize(
    "answer",
    [
        '{"__array__": "ELSEWHERE"}',
        '{"__array__": "../elsewhere.npy"}',
        '{"__frame__": "ELSEWHERE"}',
        '{"__array__": "link.npy"}',
        '{"__array__": "huge.npy"}',
        '{"a":' * 50_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_child_process_reads_and_removes_no_file_but_its_own(tmp_path, answer):
    """Whatever a source model's code writes to the pipe of its answers."""
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere.npy"
    own.mkdir()
    np.save(elsewhere, ROWS)
    (own / "link.npy").symlink_to(elsewhere)
    (own / "huge.npy").write_bytes(header("(1099511627776,)"))
    with at_once(), pytest.raises(ValueError):
        serialization.decode(answer.replace("ELSEWHERE", str(elsewhere)).encode(), own)
    assert elsewhere.exists()
