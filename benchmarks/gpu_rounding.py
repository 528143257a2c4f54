"""Linear layers rounded on the device that they are on, in the layouts of the ``quantize`` stage.

The stage rounds with ONNX Runtime's kernels on a CPU, minutes for 7 billion weights. These take
seconds. A block's scale is its largest weight over the largest integer, which the stage's kernel
does a little otherwise: a benchmark needs weights of the same layout, not the same weights.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from mmtrt.native.block_quantization import BITS, DEFAULT_BLOCK_SIZE
from mmtrt.native.component import Quantization
from mmtrt.native.float8 import FLOAT8, LARGEST
from mmtrt.native.packed_linear import BlockLinear, Float8Linear

FORMATS = (*BITS, FLOAT8)

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


def packed_layer(layer: Any, format_: str) -> Any:
    """Return a decoder layer of transformers with packed linear layers; itself for ``none``."""
    if format_ == "none":
        return layer
    return SimpleNamespace(
        input_layernorm=layer.input_layernorm,
        post_attention_layernorm=layer.post_attention_layernorm,
        self_attn=_packed(layer.self_attn, _ATTENTION, format_),
        mlp=_packed(layer.mlp, _MLP, format_),
    )


def _packed(owner: Any, names: tuple[str, ...], format_: str) -> Any:
    return SimpleNamespace(**{name: packed(getattr(owner, name), format_) for name in names})


def packed(linear: nn.Linear, format_: str) -> Any:
    """Return the layer as ``quantize`` would store it."""
    if format_ == FLOAT8:
        layer: Any = Float8Linear(linear)
        layer.weight_packed, layer.weight_scale = _float8(linear.weight)
        return layer
    bits, size = BITS[format_], DEFAULT_BLOCK_SIZE[format_]
    inputs = input_scale(linear, format_)
    quantization = Quantization(format=format_, bits=bits, block_size=size, modules=())
    layer = BlockLinear(linear, quantization, is_scaled=inputs is not None)
    layer.pre_quant_scale = inputs
    integers, layer.weight_scale = _blocks(_scaled(linear, inputs), bits, size)
    if bits == 4:
        integers = integers[..., 0::2] | (integers[..., 1::2] << 4)
    layer.weight_packed = integers
    return layer


def rounded(linear: nn.Linear, format_: str) -> torch.Tensor:
    """Return the weight that the packed one stands for, float32 ``[N, K]``."""
    if format_ == FLOAT8:
        values, scale = _float8(linear.weight)
        return values.float() * scale[:, None]
    bits, inputs = BITS[format_], input_scale(linear, format_)
    integers, scale = _blocks(_scaled(linear, inputs), bits, DEFAULT_BLOCK_SIZE[format_])
    weight = (integers.float() - (1 << (bits - 1))) * scale[..., None]
    weight = weight.flatten(1)[:, : linear.in_features]
    return weight if inputs is None else weight * inputs


def input_scale(linear: nn.Linear, format_: str) -> torch.Tensor | None:
    """Return a made-up scale of inputs, the same for all layers that take the same."""
    if format_ != "int4_awq":
        return None
    steps = torch.arange(linear.in_features, device=linear.weight.device)
    return 0.75 + 0.5 * (steps % 7) / 7


def _scaled(linear: nn.Linear, inputs: torch.Tensor | None) -> torch.Tensor:
    weight = linear.weight.detach().float()
    return weight if inputs is None else weight / inputs


def _float8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    wide = weight.detach().float()
    scale = wide.abs().amax(1) / LARGEST
    scaled = (wide / scale[:, None]).clamp_(-LARGEST, LARGEST)
    return scaled.to(torch.float8_e4m3fn), scale


def _blocks(weight: torch.Tensor, bits: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unsigned integers, uint8 ``[N, C, size]``, and scales ``[N, C]``."""
    middle = 1 << (bits - 1)
    blocks = pad(weight, (0, -weight.shape[1] % size)).unflatten(1, (-1, size))
    scale = (blocks.abs().amax(2) / (middle - 1)).clamp(min=1e-12)
    integers = (blocks / scale[..., None]).round_().clamp_(-middle, middle - 1) + middle
    return integers.to(torch.uint8), scale
