"""Hugging Face pipelines of a small random encoder, with a tokenizer of their own."""

from __future__ import annotations

import mlflow
import pandas as pd
from mlflow.models import Model

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.inputs import Inputs

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
}
TEXTS = ["the film was good", "awful , awful !", "a", "fine music of the great film", "très bien"]

_WORDS = ["the", "a", "good", "film", "was", "great", "poor", "awful", "fine", "of", "!", "."]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = {word: number for number, word in enumerate(_SPECIAL + _WORDS)}


def word_tokenizer(**options):
    """One token a word, between [CLS] and [SEP]."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    whole = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    kinds = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    named = dict(zip(kinds, _SPECIAL, strict=True))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=whole, **named | options)


def small_config(**options):
    """Of a BERT whose answers are far from each other."""
    import transformers

    sizes = SIZES | {"vocab_size": len(VOCABULARY), "initializer_range": 0.6}
    return transformers.BertConfig(**sizes | options)


def save_pipeline(task, model, folder, tokenizer=None, **options):
    """As `mlflow.transformers.save_model` stores it."""
    import transformers

    pipeline = transformers.pipeline(
        task, model=model.eval(), tokenizer=tokenizer or word_tokenizer()
    )
    options = {"input_example": TEXTS[:2]} | options
    mlflow.transformers.save_model(pipeline, str(folder), pip_requirements=[], **options)
    return folder


def as_frame(texts):
    """As MLflow hands texts to a model whose signature is one unnamed string."""
    return Inputs(pd.DataFrame({0: pd.array(texts, dtype="str")}))


def pyfuncs(source, conversion, folder):
    """MLflow's pyfunc of ``source``, and of its conversion as it is saved to ``folder``."""
    flavor.save_model(
        conversion.path,
        folder,
        signature=Model.load(str(source)).signature,
        graph=conversion.graph,
    )
    return mlflow.pyfunc.load_model(str(source)), mlflow.pyfunc.load_model(str(folder))
