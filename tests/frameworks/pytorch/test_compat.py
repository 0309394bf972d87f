"""Each entry of `frameworks.pytorch.compat` is needed still: delete what a test fails for."""

from __future__ import annotations

import inspect

import mlflow.pytorch
import pytest
import torch


def test_torch_has_no_public_dispatch_mode_or_functions_on_nested_tensors():
    names = [name for name in dir(torch.utils) if not name.startswith("_")]
    assert not {"python_dispatch", "pytree"} & set(names)


def test_torch_export_refuses_a_script_module():
    script = torch.jit.script(torch.nn.Linear(2, 2))
    with pytest.raises(Exception, match="TS2EPConverter"):
        torch.export.export(script, (torch.ones(3, 2),))


def test_an_operator_does_not_say_publicly_whether_it_changes_its_arguments():
    operator = torch.ops.aten.add_.Tensor
    assert operator._schema.is_mutable
    assert not [name for name in dir(operator) if "mutable" in name and not name.startswith("_")]


def test_the_default_of_checking_distributions_is_only_set_publicly():
    names = [name for name in dir(torch.distributions.Distribution) if "default_validate" in name]
    assert names == ["set_default_validate_args"]


def test_mlflow_s_loader_of_pyfuncs_has_no_map_location():
    assert "map_location" not in inspect.signature(mlflow.pytorch._load_pyfunc).parameters
