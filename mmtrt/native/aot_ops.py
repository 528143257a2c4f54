"""The steps of a Llama-like decoder in plain PyTorch; ``aot_triton`` has faster ones for one row.

Legend of shapes: B batch, K input width, N output width, H hidden size, Q query heads, G key/value
heads, D head size, MAX ``max_seq_len``, T places of the cache that are looked at.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from mmtrt.native.aot_matrix import Matrix


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Normalise the last side by its root mean square, in float32 like transformers."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def embed(ids: torch.Tensor, table: torch.Tensor, first_id: torch.Tensor | None) -> torch.Tensor:
    """Return rows of the embedding ``[V, H]``; for a part of it, from ``first_id``: ``RankOps``."""
    return table[ids]


def logits(
    x: torch.Tensor,
    norm: torch.Tensor,
    eps: float,
    head: torch.Tensor,
    vocab_size: int,
    first_id: torch.Tensor | None,
) -> torch.Tensor:
    """Return the logits of every token, float32 ``[B, V]``."""
    return norm_linear(x, norm, eps, Matrix.plain(head)).float()


def norm_linear(x: torch.Tensor, norm: torch.Tensor, eps: float, matrix: Matrix) -> torch.Tensor:
    """Return ``rms_norm(x)`` times the matrix."""
    return linear(rms_norm(x, norm, eps), matrix)


def norm_gated(x: torch.Tensor, norm: torch.Tensor, eps: float, matrix: Matrix) -> torch.Tensor:
    """Return ``silu(gate) * up`` of the normalised x; the matrix holds gate's rows, then up's."""
    gate, up = norm_linear(x, norm, eps, matrix).chunk(2, -1)
    return functional.silu(gate) * up


def linear_add(x: torch.Tensor, matrix: Matrix, residual: torch.Tensor) -> torch.Tensor:
    """Return ``residual`` plus x times the matrix."""
    return residual + linear(x, matrix)


def linear(x: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    """Return x times the matrix; a packed one is unpacked at every call."""
    if matrix.input_scale is not None:
        x = (x * matrix.input_scale).to(x.dtype)
    return functional.linear(x, matrix.dense(x.dtype), matrix.bias)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply rotary positions to the last side, in float32; ``cos`` and ``sin`` are D wide."""
    wide = x.float()
    left, right = wide.chunk(2, -1)
    return (wide * cos + torch.cat((-right, left), -1) * sin).to(x.dtype)


def attend_one(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    lengths: torch.Tensor,
    places: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """Write one new token of each request into the cache and attend to what is there by then.

    Args:
        qkv: ``[B, (Q + 2 G) D]``.
        cos: float32 ``[MAX, D]``, of which ``lengths`` are taken, or ``[B, 1, D]``: each request's
            own; ``sin`` too.
        sin: see ``cos``.
        lengths: int64 ``[B]``; filled places of each request, so the place of its new token.
        places: int64 ``[T]``, ``0 .. T - 1``; T exceeds every length.
        keys: ``[B, G, MAX + 1, D]``, changed in place; ``values`` too.
        values: see ``keys``.

    Returns:
        ``[B, Q D]``.
    """
    batch, groups, _, size = keys.shape
    heads = qkv.view(batch, -1, size)
    query_heads = heads.shape[1] - 2 * groups
    if cos.dim() == 2:
        cos, sin = cos[lengths][:, None], sin[lengths][:, None]
    query = rotate(heads[:, :query_heads], cos, sin)
    key = rotate(heads[:, query_heads : query_heads + groups], cos, sin)
    rows = torch.arange(batch, device=keys.device)[:, None]
    columns = torch.arange(groups, device=keys.device)[None]
    at = (rows, columns, lengths[:, None])
    keys.index_put_(at, key)
    values.index_put_(at, heads[:, query_heads + groups :])

    span = places.shape[0]
    query = query.reshape(batch, groups, -1, size)
    scores = query @ keys[:, :, :span].transpose(2, 3)
    scores = scores.float() * size**-0.5
    unseen = places[None] > lengths[:, None]
    scores = scores.masked_fill(unseen[:, None, None], -torch.inf)
    seen = torch.softmax(scores, -1).to(values.dtype) @ values[:, :, :span]
    return seen.reshape(batch, -1)


def attend_prompt(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """Write whole prompts ``[B, S, ...]`` to the start of the cache and attend causally.

    ``cos`` and ``sin`` are ``[S, D]``, or ``[B, S, D]`` where each request has its own.

    Prompts are padded at the right, where no token of theirs looks; what the padding leaves in the
    cache is overwritten before it is seen. So no mask is needed and the fastest kernels apply.
    """
    batch, tokens, _ = qkv.shape
    groups, size = keys.shape[1], keys.shape[3]
    heads = qkv.view(batch, tokens, -1, size)
    query_heads = heads.shape[2] - 2 * groups
    cos, sin = cos[..., None, :], sin[..., None, :]
    query = rotate(heads[:, :, :query_heads], cos, sin)
    key = rotate(heads[:, :, query_heads : query_heads + groups], cos, sin)
    value = heads[:, :, query_heads + groups :]
    keys[:, :, :tokens].copy_(key.transpose(1, 2))
    values[:, :, :tokens].copy_(value.transpose(1, 2))
    if groups != query_heads:
        share = query_heads // groups
        key, value = (
            each[:, :, :, None].expand(-1, -1, -1, share, -1).flatten(2, 3) for each in (key, value)
        )
    seen = functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
    )
    return seen.transpose(1, 2).reshape(batch, tokens, -1)
