"""Hugging Face's encoders, logged as PyTorch models, at other batch sizes and lengths than shown.

Every one of a small random configuration; tokens in, all outputs that the model gives out.
"""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.frameworks.pytorch.calls import named_outputs
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of
from tests.frameworks.small_pipelines import SIZES

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

MASKED = ("input_ids", "attention_mask")
WITH_TYPES = (*MASKED, "token_type_ids")
PIXELS = ("pixel_values",)
OF_ROBERTA = SIZES | {"max_position_embeddings": 66}  # two are for padding
OF_GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
OF_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "image_size": 32,
    "patch_size": 8,
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
# A padded position may see nothing but padding.
OF_MODERN_BERT = SIZES | {
    "global_attn_every_n_layers": 2,
    "local_attention": 8,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}
OF_BART = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
    "max_position_embeddings": 64,
    "use_cache": False,
}
OF_XLNET = {
    "vocab_size": 99,
    "d_model": 32,
    "n_layer": 2,
    "n_head": 4,
    "d_inner": 37,
    "use_mems_eval": False,
}

ENCODERS = {
    "BertModel": (SIZES | {"output_hidden_states": True, "output_attentions": True}, WITH_TYPES),
    "BertForMaskedLM": (SIZES, WITH_TYPES),
    "BertForQuestionAnswering": (SIZES, WITH_TYPES),
    "BertForTokenClassification": (SIZES | {"num_labels": 3}, WITH_TYPES),
    "DistilBertModel": (
        {
            "vocab_size": 99,
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 37,
            "max_position_embeddings": 64,
        },
        MASKED,
    ),
    "RobertaModel": (OF_ROBERTA, MASKED),
    "XLMRobertaForSequenceClassification": (OF_ROBERTA | {"num_labels": 3}, MASKED),
    "CamembertModel": (OF_ROBERTA, MASKED),
    "MPNetModel": (OF_ROBERTA, MASKED),
    "AlbertModel": (SIZES | {"embedding_size": 16}, WITH_TYPES),
    "ElectraModel": (SIZES | {"embedding_size": 16}, WITH_TYPES),
    "ElectraForPreTraining": (SIZES | {"embedding_size": 16}, WITH_TYPES),
    "DebertaModel": (SIZES | RELATIVE | {"max_relative_positions": 16}, WITH_TYPES),
    "DebertaV2Model": (
        SIZES
        | RELATIVE
        | {"position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
        WITH_TYPES,
    ),
    "T5EncoderModel": (
        {
            "vocab_size": 99,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 37,
            "num_layers": 2,
            "num_heads": 4,
        },
        MASKED,
    ),
    "ModernBertModel": (OF_MODERN_BERT, MASKED),
    "ModernBertForSequenceClassification": (OF_MODERN_BERT | {"num_labels": 3}, MASKED),
    "ConvBertModel": (SIZES | {"embedding_size": 32}, WITH_TYPES),
    "BigBirdModel": (SIZES | {"attention_type": "original_full"}, WITH_TYPES),
    "FNetModel": (
        {name: each for name, each in SIZES.items() if name != "num_attention_heads"},
        ("input_ids", "token_type_ids"),
    ),
    "CLIPTextModel": (SIZES | {"eos_token_id": 98}, MASKED),
    "GPT2Model": (OF_GPT | {"use_cache": False}, MASKED),
    "BartModel": (OF_BART, MASKED),
    "XLNetModel": (OF_XLNET, MASKED),
    "ViTModel": (OF_VIT, PIXELS),
    "ViTForImageClassification": (OF_VIT | {"num_labels": 3}, PIXELS),
    "DeiTForImageClassification": (OF_VIT | {"num_labels": 3}, PIXELS),
    "BeitForImageClassification": (OF_VIT | {"num_labels": 3}, PIXELS),
    "SwinForImageClassification": (
        {
            "image_size": 32,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 4,
            "num_labels": 3,
        },
        PIXELS,
    ),
}
# One whose outputs are many, and one whose mask leaves positions with nothing to attend to.
QUICK = ("ModernBertModel",)  # of BERT other tests show it


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in ENCODERS],
)
def test_an_encoder_gives_all_its_outputs_whatever_it_is_asked(kind, tmp_path):
    sizes, names = ENCODERS[kind]
    model, example = encoder(kind, sizes), rows(names, 4, 12)
    conversion = converted_from(model, example, tmp_path)
    session = session_of(conversion)
    for count, length in ((1, 12), (3, 12), (1, 1), (2, 7), (3, 40), (5, 33), (1, 64)):
        asked = rows(names, count, length)
        expected, found = named_outputs(model, Inputs(asked)), session.run(asked)
        assert list(found) == list(expected)
        for name, array in expected.items():
            scale = np.abs(array).max()
            np.testing.assert_allclose(found[name], array, rtol=0, atol=2e-5 * scale, err_msg=name)


def test_a_model_that_remembers_for_the_next_token_is_refused_with_the_remedy(tmp_path):
    model = encoder("GPT2Model", OF_GPT)
    with pytest.raises(ConversionError, match="'past_key_values'.* model.config.use_cache = False"):
        converted_from(model, rows(MASKED, 4, 12), tmp_path)


def encoder(kind, sizes):
    """With weights so large that its answers are far from each other."""
    torch.manual_seed(0)
    architecture = getattr(transformers, kind)
    model = architecture(architecture.config_class(**sizes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(5)
    return model


def rows(names, count, length):
    """Random inputs; of tokens, each row is one shorter than the one before it."""
    random = np.random.default_rng(count * length)
    if names == PIXELS:
        return {"pixel_values": random.normal(size=(count, 3, 32, 32)).astype(np.float32)}
    mask = np.zeros((count, length), np.int64)
    for row in range(count):
        mask[row, : max(1, length * 3 // 4 - row)] = 1
    types = np.broadcast_to(np.arange(length) > length // 2, mask.shape)
    made = {
        "input_ids": np.where(mask, random.integers(5, 99, mask.shape), 1),
        "attention_mask": mask,
        "token_type_ids": types.astype(np.int64),
    }
    return {name: made[name] for name in names}


def converted_from(model, example, folder):
    schema = Schema(
        [
            TensorSpec(each.dtype, (-1, *each.shape[1:]) if each.ndim > 2 else (-1, -1), name)
            for name, each in example.items()
        ]
    )
    mlflow.pytorch.save_model(
        model,
        str(folder / "source"),
        signature=ModelSignature(schema),
        input_example=example,
        serialization_format="pickle",
        pip_requirements=[],
    )
    return converted(folder / "source", "pytorch", Inputs(example), None, folder / "out")[0]
