"""The graphs of ranks, which exchange sums over gloo, beside transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from mmtrt.native import aot_ops
from mmtrt.native.aot_build import load_decoder
from mmtrt.native.aot_llm import TokenGraph
from mmtrt.native.aot_parallel import RankOps, compiling_for
from mmtrt.native.component import read_component
from mmtrt.native.convert import convert
from tests.native_tp.ranks import MAX, ROWS, STEPS, answer, requests

# Query heads, key/value heads, vocabulary and what else differs.
MODELS: dict[str, dict[str, Any]] = {
    "llama, biases, a vocabulary that does not divide": {
        "vocab_size": 331,
        "attention_bias": True,
        "mlp_bias": True,
    },
    "qwen2, tied": {"model_type": "qwen2", "tie_word_embeddings": True},
    "mistral, one key head": {"model_type": "mistral", "num_key_value_heads": 1},
}


def make(directory: Path, settings: dict[str, Any]) -> Any:
    """Write a LLaVA with this language model and return the latter."""
    import transformers as tf

    usual = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
        "sliding_window": None,
        "eos_token_id": 2,
    }
    classes = {"llama": tf.LlamaConfig, "qwen2": tf.Qwen2Config, "mistral": tf.MistralConfig}
    settings = dict(settings)
    text = classes[settings.pop("model_type", "llama")](**{**usual, **settings})
    vision = tf.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    tied = text.tie_word_embeddings
    config = tf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, tie_word_embeddings=tied
    )
    torch.manual_seed(1)
    model = tf.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    model.save_pretrained(directory)
    return model


def expected(model: Any) -> torch.Tensor:
    """Answer greedily with transformers, each request alone: logits ``[steps, B, V]``."""
    vocab_size = model.config.text_config.vocab_size
    ids, lengths = requests(vocab_size)
    table = torch.linspace(-0.3, 0.3, ROWS * 32).view(ROWS, -1)
    rows = []
    for prompt, length in zip(ids, lengths):
        text, steps = prompt[:length][None], []
        for _ in range(STEPS + 1):
            embeds = model.get_input_embeddings()(text.clamp(max=vocab_size - 1))
            visual = table[(text - vocab_size).clamp(min=0)]
            embeds = torch.where((text >= vocab_size)[..., None], visual, embeds)
            with torch.no_grad():
                hidden = model.model.language_model(inputs_embeds=embeds).last_hidden_state
                steps.append(model.lm_head(hidden[:, -1])[0])
            text = torch.cat((text, steps[-1].argmax().view(1, 1)), 1)
        rows.append(torch.stack(steps))
    return torch.stack(rows, 1)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_logits_of_every_step_equal_transformers_on_every_rank(tmp_path: Path, ranks: int) -> None:
    wanted = {}
    for name, settings in MODELS.items():
        place = tmp_path / name
        model = make(place / "model", settings)
        convert(place / "model", place / "split", "auto", tp_size=ranks)
        wanted[str(place / "split/llm")] = expected(model)
    arguments = (list(wanted), str(tmp_path / "meeting"), str(tmp_path))
    multiprocessing.spawn(answer, arguments, nprocs=ranks)
    first = torch.load(tmp_path / "0.pt")
    for rank in range(ranks):
        found = torch.load(tmp_path / f"{rank}.pt")
        for name, logits in wanted.items():
            # All ranks must choose the same token: the same bits, not nearly the same.
            assert torch.equal(found[name], first[name]), name
            torch.testing.assert_close(found[name], logits, atol=1e-4, rtol=0)
            assert torch.equal(found[name].argmax(-1), logits.argmax(-1)), name


def test_ranks_hold_their_share_and_the_graph_does_not_name_them(tmp_path: Path) -> None:
    make(tmp_path / "model", MODELS["qwen2, tied"])
    texts = []
    for ranks in (1, 2):
        place = tmp_path / str(ranks)
        convert(tmp_path / "model", place, "auto", tp_size=ranks)
        component = read_component(place / "llm", "llm")
        assert component.tp_size == ranks
        for rank in range(ranks):
            decoder = load_decoder(
                component, place / "llm", MAX, dtype="float32", device="cpu", rank=rank
            )
            assert decoder.cache.heads == 2 // ranks
            assert decoder.embed.shape == (320 // ranks, 32)
            assert decoder.head.data_ptr() == decoder.embed.data_ptr()
            assert decoder.layers[0].qkv.weight.shape == ((32 + 2 * 16) // ranks, 32)
            assert decoder.layers[0].down.weight.shape == (32, 48 // ranks)
            if ranks == 1:
                continue
            caches = [decoder.cache.zeros(2, dtype=torch.float32, device="cpu") for _ in range(2)]
            one = torch.ones(2, dtype=torch.int64)
            args = (one, one, torch.arange(MAX - 1), *caches)
            with compiling_for(ranks):
                graph = TokenGraph(decoder, RankOps(aot_ops))
                program = torch.export.export(graph, args, strict=False)
            texts.append(program.graph_module.code)
            # Two for each layer, one for the embedding, one for the logits.
            assert texts[-1].count("_c10d_functional.all_reduce") == 2 * 2 + 2
    assert texts[0] == texts[1]
