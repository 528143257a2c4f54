"""The steps of ``aot_ops`` for one new token of each request, with Triton kernels.

Needs a GPU. ``norm_linear``, ``norm_gated`` and ``linear_add`` use them for one row (batch 1); for
more rows the plain ones are better, since then a matrix product has something to do. Attention
uses them for every batch, because it reads the filled places of the cache only, whose number the
kernel reads from memory: one captured graph serves every length.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
import triton  # type: ignore[import-not-found,unused-ignore]
from torch.library import triton_op, wrap_triton

from mmtrt.native import aot_kernels, aot_ops

# Measured on an H100 for 8 to 32 key/value heads and 700 to 2000 places, see docs/benchmarks.md.
_PARTS = 16
_PLACES = 64
_MIN_PADDED = 16
_WIDE = 2048


embed = aot_ops.embed
attend_prompt = aot_ops.attend_prompt


def logits(
    x: torch.Tensor,
    norm: torch.Tensor,
    eps: float,
    head: torch.Tensor,
    vocab_size: int,
    first_id: torch.Tensor | None,
) -> torch.Tensor:
    """See ``aot_ops.logits``."""
    return norm_linear(x, norm, eps, head, None).float()


def norm_linear(
    x: torch.Tensor, norm: torch.Tensor, eps: float, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """See ``aot_ops.norm_linear``."""
    if x.shape[0] != 1:
        return aot_ops.norm_linear(x, norm, eps, weight, bias)
    return _matvec(x, weight, norm, bias, None, eps, gated=False)


def norm_gated(
    x: torch.Tensor, norm: torch.Tensor, eps: float, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """See ``aot_ops.norm_gated``."""
    if x.shape[0] != 1:
        return aot_ops.norm_gated(x, norm, eps, weight, bias)
    return _matvec(x, weight, norm, bias, None, eps, gated=True)


def linear_add(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, residual: torch.Tensor
) -> torch.Tensor:
    """See ``aot_ops.linear_add``."""
    if x.shape[0] != 1:
        return aot_ops.linear_add(x, weight, bias, residual)
    return _matvec(x, weight, None, bias, residual, 0.0, gated=False)


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """See ``aot_ops.linear``."""
    if x.shape[0] != 1:
        return aot_ops.linear(x, weight)
    return _matvec(x, weight, None, None, None, 0.0, gated=False)


def attend_one(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    lengths: torch.Tensor,
    places: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """See ``aot_ops.attend_one``; ``places`` is not needed here."""
    return _attend(qkv, cos, sin, lengths, keys, values)


def supports(head_size: int) -> bool:
    """Return whether the attention kernel takes heads of this size."""
    return head_size >= _MIN_PADDED and head_size & (head_size - 1) == 0


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What one program of the matrix kernel does: rows of the matrix, columns of them at a time."""

    rows: int
    columns: int
    warps: int


CHOSEN: dict[tuple[int, ...], Blocks] = {}
"""Shape of a matrix -> blocks, where ``aot_tuning`` has timed them."""


def blocks_of(rows: int, columns: int) -> Blocks:
    """Return the block sizes for a matrix ``[rows, columns]``.

    Those that were not timed have what did well on an H100; see docs/benchmarks.md.
    """
    narrow = columns <= _WIDE and rows >= 2 * _WIDE
    default = Blocks(rows=2 if narrow else 1, columns=_WIDE, warps=8)
    return CHOSEN.get((rows, columns), default)


@triton_op("mmtrt::matvec", mutates_args={})
def _matvec(
    x: torch.Tensor,
    weight: torch.Tensor,
    norm: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    gated: bool,
) -> torch.Tensor:
    width = weight.shape[0] // 2 if gated else weight.shape[0]
    out = torch.empty((1, width), dtype=x.dtype, device=x.device)
    blocks = blocks_of(*weight.shape)
    wrap_triton(aot_kernels.matvec)[(ceil(width / blocks.rows),)](
        x,
        weight,
        # A kernel takes no None; what is not there is not read.
        x if norm is None else norm,
        x if bias is None else bias,
        x if residual is None else residual,
        out,
        eps=eps,
        N=width,
        K=weight.shape[1],
        NORM=norm is not None,
        GATED=gated,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        ROWS=blocks.rows,
        BLOCK=blocks.columns,
        STAGES=1,
        num_warps=blocks.warps,
    )
    return out


@triton_op("mmtrt::attend_one", mutates_args={"keys", "values"})
def _attend(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    lengths: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    batch, groups, places, size = keys.shape
    heads = qkv.shape[1] // size - 2 * groups
    wide = {"dtype": torch.float32, "device": qkv.device}
    partial = torch.empty((batch, heads, _PARTS, size), **wide)
    peaks = torch.empty((batch, heads, _PARTS), **wide)
    sums = torch.empty((batch, heads, _PARTS), **wide)
    out = torch.empty((batch, heads * size), dtype=qkv.dtype, device=qkv.device)
    share = heads // groups
    wrap_triton(aot_kernels.attend_split)[(batch * groups, _PARTS)](
        *(qkv, cos, sin, lengths, keys, values, partial, peaks, sums),
        scale=size**-0.5,
        GROUPS=groups,
        SHARE=share,
        D=size,
        MAX=places,
        SPLITS=_PARTS,
        BLOCK=_PLACES,
        PADDED=max(triton.next_power_of_2(share), _MIN_PADDED),
        num_warps=4,
    )
    wrap_triton(aot_kernels.attend_join)[(batch * heads,)](
        partial, peaks, sums, out, D=size, SPLITS=_PARTS, num_warps=4
    )
    return out
