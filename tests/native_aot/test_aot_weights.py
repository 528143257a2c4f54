"""Weights on their way from a checkpoint into packages, without compiling any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmtrt.native.aot_build import NESTED, save_weights, write_state
from mmtrt.native.aot_graphs import cast
from mmtrt.native.aot_llm import MergedDecoder
from mmtrt.native.weights import load_weights


def small_llama(dtype: torch.dtype) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM._from_config(config, dtype=dtype).eval()


@pytest.mark.parametrize("nested", [False, True], ids=["llava", "others"])
def test_weights_keep_the_type_of_the_file(tmp_path: Path, nested: bool) -> None:
    """No float32 copy on the way, and names as either kind of family writes them."""
    model = small_llama(torch.float16)
    state = {
        NESTED + name.removeprefix("model.") if nested and name.startswith("model.") else name: each
        for name, each in model.state_dict().items()
    }
    save_file(state, tmp_path / "rank0.safetensors")
    empty = small_llama(torch.float32)
    loaded = load_weights(empty, tmp_path, as_stored=True, inner=NESTED)
    found, expected = loaded.state_dict(), model.state_dict()
    assert {each.dtype for each in found.values()} == {torch.float16}
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_a_decoder_has_one_type_and_its_weights_are_written_as_they_are(tmp_path: Path) -> None:
    model = small_llama(torch.float16)
    decoder = MergedDecoder(model, 8, dtype=torch.bfloat16)
    assert decoder.dtype == torch.bfloat16
    assert decoder.cache.heads == 2
    layer: Any = decoder.layers[1]
    attention = model.model.layers[1].self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    rows = torch.cat([part.weight for part in parts]).to(torch.bfloat16)
    assert torch.equal(layer.qkv.weight, rows)
    save_weights(decoder, tmp_path)
    (file,) = tmp_path.iterdir()
    written = load_file(file)
    expected = {f"decoder.{name}": each for name, each in decoder.state_dict().items()}
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], each) for name, each in expected.items())


def test_rotary_frequencies_are_not_rounded() -> None:
    """transformers keeps them in float32, whatever type weights are loaded in."""
    expected = {name: each.clone() for name, each in small_llama(torch.float32).named_buffers()}
    assert any(name.endswith("inv_freq") for name in expected)
    model = cast(small_llama(torch.float32), "cpu", torch.bfloat16)
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    for name, each in model.named_buffers():
        assert torch.equal(each, expected[name]), name


def test_tensors_of_every_type_are_written(tmp_path: Path) -> None:
    state = {
        "half": torch.randn(3, 2).half(),
        "brain": torch.randn(4).bfloat16(),
        "whole": torch.arange(5),
        "scalar": torch.tensor(2.5),
        "flag": torch.tensor([True, False]),
        "turned": torch.randn(2, 3).t(),
    }
    write_state(state, tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], each) for name, each in state.items())
