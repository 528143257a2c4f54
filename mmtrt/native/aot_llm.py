"""A Llama-like language model as two graphs that share weights and a KV cache written in place.

``PromptGraph`` reads whole prompts, in which ids from V on are rows of a table of visual features;
``TokenGraph`` reads one new token of each request.

Legend of shapes: B batch, S tokens of the longest prompt, V vocabulary, P rows of the table,
H hidden size, G key/value heads (of one rank, where there are several), D head size, A axes,
MAX ``max_seq_len``, T places that are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmtrt.native import aot_ops
from mmtrt.native.aot_matrix import MergedLinear
from mmtrt.native.aot_rotary import axial_rotary
from mmtrt.native.errors import NativeError


@dataclass(frozen=True)
class CachePlan:
    """Sizes of the KV cache: keys and values ``[B, heads, MAX + 1, head_size]`` a layer.

    The last place stays empty: a part of the cache that might be the whole would need two graphs.
    """

    layers: int
    heads: int
    max_seq_len: int
    head_size: int

    def zeros(self, batch: int, *, dtype: torch.dtype, device: Any) -> list[torch.Tensor]:
        """Return the keys (or values) of all layers, empty."""
        shape = (batch, self.heads, self.max_seq_len + 1, self.head_size)
        return [torch.zeros(shape, dtype=dtype, device=device) for _ in range(self.layers)]


class MergedLayer(nn.Module):
    """A decoder layer whose projections of one input are one matrix: q|k|v and gate|up."""

    def __init__(self, layer: Any, *, dtype: torch.dtype, device: Any) -> None:
        """Take the weights of a layer of transformers; the originals may be freed afterwards."""
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp

        def merged(*linears: nn.Module) -> MergedLinear:
            return MergedLinear(linears, dtype=dtype, device=device)

        self.norm = _parameter(layer.input_layernorm.weight, dtype, device)
        self.qkv = merged(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = merged(attention.o_proj)
        self.mlp_norm = _parameter(layer.post_attention_layernorm.weight, dtype, device)
        self.gate_up = merged(mlp.gate_proj, mlp.up_proj)
        self.down = merged(mlp.down_proj)


class MergedDecoder(nn.Module):
    """Embedding, layers, final norm and head of a Llama, Mistral or Qwen2 language model."""

    def __init__(
        self,
        model: Any,
        max_seq_len: int,
        *,
        dtype: torch.dtype,
        device: Any = "cpu",
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Take the weights of a causal language model of transformers, or of one rank of it.

        Args:
            model: with weights; with several ranks those of one, while its configuration is that
                of the whole.
            max_seq_len: length of the KV cache.
            dtype: type of activations, cache, and weights that are not packed.
            device: where they will be.
            rank: whose weights these are.
            ranks: how many there are; see ``tensor_split``.

        Raises:
            NativeError: MDL208, if its layers are not of this kind; QNT204, if packed ones do not
                fit together.
        """
        super().__init__()
        config = model.config
        if config.hidden_act != "silu":
            raise NativeError(
                f"hidden_act {config.hidden_act!r} is not supported by aot_inductor", code="MDL208"
            )
        self.rank, self.ranks = rank, ranks
        self.vocab_size: int = config.vocab_size
        self.hidden_size: int = config.hidden_size
        self.eps: float = config.rms_norm_eps
        self.embed = _parameter(model.model.embed_tokens.weight, dtype, device)
        layers = model.model.layers
        self.layers = nn.ModuleList(
            MergedLayer(layer, dtype=dtype, device=device) for layer in layers
        )
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        first: Any = self.layers[0]
        # Keys and values are what is left of q|k|v: those of this rank, which only weights tell.
        rows = first.qkv.matrix.rows - first.out.matrix.columns
        self.cache = CachePlan(
            layers=config.num_hidden_layers,
            heads=rows // 2 // head_size,
            max_seq_len=max_seq_len,
            head_size=head_size,
        )
        self.norm = _parameter(model.model.norm.weight, dtype, device)
        self.head = _parameter(model.lm_head.weight, dtype, device)
        self.first_id: torch.Tensor | None
        """int64 ``[1, 1]``: the id of the first row of this rank's embedding and head."""
        first_id = torch.full((1, 1), rank * self.embed.shape[0], device=device)
        self.register_buffer("first_id", first_id if ranks > 1 else None)
        rotary = model.model.rotary_emb
        self.axial = axial_rotary(rotary, device)
        self.cos: torch.Tensor
        self.sin: torch.Tensor
        if self.axial is None:
            cos, sin = _rotations(rotary, max_seq_len)
            self.register_buffer("cos", cos.to(device))
            self.register_buffer("sin", sin.to(device))
        self.requires_grad_(False).eval()

    @property
    def dtype(self) -> torch.dtype:
        """Type of activations, cache, and weights that are not packed."""
        return self.embed.dtype

    @property
    def position_axes(self) -> int:
        """How many axes the graphs' positions have; 0: positions count tokens, and are no input."""
        return 0 if self.axial is None else self.axial.axes

    def rotations_of_prompts(
        self, tokens: int, positions: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines, float32 ``[S, D]``, or ``[B, S, D]`` of ``[A, B, S]``."""
        if self.axial is None:
            return self.cos[:tokens], self.sin[:tokens]
        assert positions is not None
        rotations: tuple[torch.Tensor, torch.Tensor] = self.axial(positions)
        return rotations

    def rotations_of_tokens(
        self, lengths: torch.Tensor, shifts: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines, float32 ``[MAX, D]`` of all places, or ``[B, 1, D]``."""
        if self.axial is None:
            return self.cos, self.sin
        assert shifts is not None
        rotations: tuple[torch.Tensor, torch.Tensor] = self.axial(
            (lengths[:, None] + shifts).T[..., None]
        )
        return rotations


class PromptGraph(nn.Module):
    """The prefill: prompts, padded at the right, to the logits of their first new tokens."""

    def __init__(self, decoder: MergedDecoder, ops: Any = aot_ops) -> None:
        """Share the decoder's weights; ``ops`` has the steps of ``aot_ops``."""
        super().__init__()
        self.decoder = decoder
        self._ops: Any = ops

    def forward(
        self,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        table: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        positions: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill the cache from its start and return logits and the likeliest tokens.

        Args:
            ids: int64 ``[B, S]``; ``V + row`` stands for a row of ``table``.
            lengths: int64 ``[B]``; tokens of each prompt, at least 1.
            table: ``[P, H]`` of the weights' type; at least one row, also without images.
            keys: ``[B, G, MAX + 1, D]`` of the weights' type for each layer, changed in place.
            values: the same.
            positions: int64 ``[A, B, S]``, where the decoder has axes; otherwise no input.

        Returns:
            float32 ``[B, V]`` and int64 ``[B]``.
        """
        decoder, ops = self.decoder, self._ops
        vocab_size = decoder.vocab_size
        text = ops.embed(ids.clamp(max=vocab_size - 1), decoder.embed, decoder.first_id)
        visual = table[(ids - vocab_size).clamp(min=0)]
        x = torch.where((ids >= vocab_size)[..., None], visual, text)
        cos, sin = decoder.rotations_of_prompts(ids.shape[1], positions)
        for layer, key, value in zip(decoder.layers, keys, values):
            qkv = ops.norm_linear(x, layer.norm, decoder.eps, layer.qkv.matrix)
            seen = ops.attend_prompt(qkv, cos, sin, key, value)
            x = ops.linear_add(seen, layer.out.matrix, x)
            x = _mlp(ops, layer, decoder.eps, x)
        rows = torch.arange(ids.shape[0], device=ids.device)
        last = x[rows, lengths - 1]
        logits = _logits(ops, decoder, last)
        return logits, logits.argmax(-1)


class TokenGraph(nn.Module):
    """A decode step: one new token of each request to the logits of the next."""

    def __init__(self, decoder: MergedDecoder, ops: Any = aot_ops) -> None:
        """Share the decoder's weights; ``ops`` has the steps of ``aot_ops``."""
        super().__init__()
        self.decoder = decoder
        self._ops: Any = ops

    def forward(
        self,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        places: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        shifts: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the tokens to the cache and return logits and the likeliest next tokens.

        Args:
            ids: int64 ``[B]``, below V.
            lengths: int64 ``[B]``; filled places of the cache, the new token not counted.
            places: int64 ``[T]``, ``0 .. T - 1``, with T above every length.
            keys: as in ``PromptGraph``.
            values: as in ``PromptGraph``.
            shifts: int64 ``[B, A]``, where the decoder has axes: positions less lengths.

        Returns:
            float32 ``[B, V]`` and int64 ``[B]``.
        """
        decoder, ops = self.decoder, self._ops
        x = ops.embed(ids, decoder.embed, decoder.first_id)
        cos, sin = decoder.rotations_of_tokens(lengths, shifts)
        for layer, key, value in zip(decoder.layers, keys, values):
            qkv = ops.norm_linear(x, layer.norm, decoder.eps, layer.qkv.matrix)
            seen = ops.attend_one(qkv, cos, sin, lengths, places, key, value)
            x = ops.linear_add(seen, layer.out.matrix, x)
            x = _mlp(ops, layer, decoder.eps, x)
        logits = _logits(ops, decoder, x)
        return logits, logits.argmax(-1)


def _mlp(ops: Any, layer: Any, eps: float, x: torch.Tensor) -> torch.Tensor:
    inner = ops.norm_gated(x, layer.mlp_norm, eps, layer.gate_up.matrix)
    return ops.linear_add(inner, layer.down.matrix, x)


def _logits(ops: Any, decoder: MergedDecoder, x: torch.Tensor) -> torch.Tensor:
    head, vocab_size = decoder.head, decoder.vocab_size
    logits: torch.Tensor = ops.logits(
        x, decoder.norm, decoder.eps, head, vocab_size, decoder.first_id
    )
    return logits


def _parameter(tensor: torch.Tensor, dtype: torch.dtype, device: Any) -> nn.Parameter:
    return nn.Parameter(tensor.detach().to(device, dtype), requires_grad=False)


def _rotations(rotary: Any, max_seq_len: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines, float32 ``[MAX, D]``, of the positions below MAX."""
    frequencies = rotary.inv_freq.detach().float()
    positions = torch.arange(max_seq_len, device=frequencies.device, dtype=torch.float32)
    angles = torch.outer(positions, frequencies)
    angles = torch.cat((angles, angles), -1)
    scale = rotary.attention_scaling
    return angles.cos() * scale, angles.sin() * scale
