"""What the weights of a quantized checkpoint stand for, as a state of the original model."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def dequantized(quantized: Path, original: Path) -> dict[str, Any]:
    """Return the tensors of a language model by the names of the checkpoint, float32.

    Args:
        quantized: ``llm`` that ``quantize`` wrote.
        original: ``llm`` that it read.
    """
    import torch
    from safetensors.torch import load_file

    from mmtrt.native.block_quantization import BlockQuantizer
    from mmtrt.native.component import read_component

    quantization = read_component(quantized, "llm").quantization
    assert quantization is not None
    tensors = load_file(quantized / "rank0.safetensors")
    quantizer = BlockQuantizer(bits=quantization.bits, block_size=quantization.block_size)
    state = {}
    for name, value in load_file(original / "rank0.safetensors").items():
        if f"{name}_packed" not in tensors:
            assert torch.equal(tensors[name], value), name
            state[name] = value
            continue
        packed, scale = (tensors[f"{name}_{part}"] for part in ("packed", "scale"))
        if quantization.block_size:
            columns = value.shape[1]
            unpacked = quantizer.unpack(packed.numpy(), scale.numpy(), inputs=columns)
            weight = torch.from_numpy(unpacked)
        else:
            assert packed.dtype == torch.float8_e4m3fn
            weight = packed.float() * scale[:, None]
        undone = tensors.get(name.replace(".weight", ".pre_quant_scale"))
        state[name] = weight if undone is None else weight * undone
    assert set(quantization.modules) == {
        name.removesuffix(".weight_packed") for name in tensors if name.endswith("_packed")
    }
    return state


def load_into(model: Any, state: dict[str, Any]) -> None:
    """Give a model of pictures and text the language model's weights."""
    assert not model.load_state_dict(state, strict=False).unexpected_keys
