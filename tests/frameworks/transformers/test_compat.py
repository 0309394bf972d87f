"""Each entry of `frameworks.transformers.compat` is needed still: delete what a test fails for."""

from __future__ import annotations

from transformers import Pipeline, PreTrainedTokenizerFast


def public(owner, word):
    return [name for name in dir(owner) if word in name and not name.startswith("_")]


def test_no_public_method_says_how_a_call_truncates():
    assert public(PreTrainedTokenizerFast, "truncation_strateg") == []


def test_a_pipeline_does_not_say_the_options_of_its_preprocessing():
    assert public(Pipeline, "preprocess") == ["preprocess"]
