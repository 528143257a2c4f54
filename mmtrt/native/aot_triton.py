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

from mmtrt.native import aot_kernels, aot_ops, aot_packed_kernels
from mmtrt.native.aot_matrix import Matrix

# Measured on an H100 for 8 to 32 key/value heads and 700 to 2000 places, see docs/benchmarks.md.
_PARTS = 16
_PLACES = 64
_MIN_PADDED = 16
_WIDE = 2048
_WARP_BYTES = 32 * 16
"""What the threads of a warp read at once."""


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
    return norm_linear(x, norm, eps, Matrix.plain(head)).float()


def norm_linear(x: torch.Tensor, norm: torch.Tensor, eps: float, matrix: Matrix) -> torch.Tensor:
    """See ``aot_ops.norm_linear``."""
    if x.shape[0] != 1:
        return aot_ops.norm_linear(x, norm, eps, matrix)
    return _product(x, matrix, norm=norm, eps=eps)


def norm_gated(x: torch.Tensor, norm: torch.Tensor, eps: float, matrix: Matrix) -> torch.Tensor:
    """See ``aot_ops.norm_gated``."""
    if x.shape[0] != 1:
        return aot_ops.norm_gated(x, norm, eps, matrix)
    return _product(x, matrix, norm=norm, eps=eps, gated=True)


def linear_add(x: torch.Tensor, matrix: Matrix, residual: torch.Tensor) -> torch.Tensor:
    """See ``aot_ops.linear_add``."""
    if x.shape[0] != 1:
        return aot_ops.linear_add(x, matrix, residual)
    return _product(x, matrix, residual=residual)


def linear(x: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    """See ``aot_ops.linear``."""
    return aot_ops.linear(x, matrix) if x.shape[0] != 1 else _product(x, matrix)


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
    """What one program of a matrix kernel does: rows of the matrix, columns of them at a time."""

    rows: int
    columns: int
    warps: int


CHOSEN: dict[tuple[int, ...], Blocks] = {}
"""``Matrix.kind`` -> blocks, where ``aot_tuning`` has timed them."""


def blocks_of(kind: tuple[int, ...]) -> Blocks:
    """Return the block sizes for a matrix.

    Those that were not timed have what did well on an H100; see docs/benchmarks.md.
    """
    rows, columns, size, bits, _ = kind
    if bits:
        return CHOSEN.get(kind, packed_blocks(bits, rows=4, warps=2))
    narrow = columns <= _WIDE and rows >= 2 * _WIDE
    few = 2 if narrow or size == 1 else 1
    return CHOSEN.get(kind, Blocks(rows=few, columns=_WIDE, warps=4 if size == 1 else 8))


def packed_blocks(bits: int, *, rows: int, warps: int) -> Blocks:
    """Return blocks in which a thread reads 16 bytes of a packed row at a time.

    Then what it multiplies them by is where it read it, and nothing moves between threads.
    """
    return Blocks(rows=rows, columns=warps * _WARP_BYTES * 8 // bits, warps=warps)


def _product(
    x: torch.Tensor,
    matrix: Matrix,
    *,
    norm: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
) -> torch.Tensor:
    values, scale, bias = matrix.values, matrix.scale, matrix.bias
    if not matrix.bits:
        return _matvec(x, values, scale, norm, bias, residual, eps, gated)
    assert scale is not None
    return _matvec_packed(
        *(x, values, scale, matrix.input_scale, norm, bias, residual, eps, gated),
        *(matrix.columns, matrix.bits, matrix.block_size),
    )


@triton_op("mmtrt::matvec", mutates_args={})
def _matvec(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor | None,
    norm: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    gated: bool,
) -> torch.Tensor:
    width = weight.shape[0] // 2 if gated else weight.shape[0]
    out = torch.empty((1, width), dtype=x.dtype, device=x.device)
    blocks = blocks_of(Matrix.plain(weight).kind)
    wrap_triton(aot_kernels.matvec)[(ceil(width / blocks.rows),)](
        x,
        weight,
        # A kernel takes no None; what is not there is not read.
        x if scale is None else scale,
        x if norm is None else norm,
        x if bias is None else bias,
        x if residual is None else residual,
        out,
        eps=eps,
        N=width,
        K=weight.shape[1],
        SCALED=scale is not None,
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


@triton_op("mmtrt::matvec_packed", mutates_args={})
def _matvec_packed(
    x: torch.Tensor,
    words: torch.Tensor,
    scale: torch.Tensor,
    input_scale: torch.Tensor | None,
    norm: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    gated: bool,
    columns: int,
    bits: int,
    block_size: int,
) -> torch.Tensor:
    width = words.shape[0] // 2 if gated else words.shape[0]
    out = torch.empty((1, width), dtype=x.dtype, device=x.device)
    blocks = blocks_of((words.shape[0], columns, words.itemsize, bits, block_size))
    wrap_triton(aot_packed_kernels.matvec_packed)[(ceil(width / blocks.rows),)](
        x,
        words,
        scale,
        x if input_scale is None else input_scale,
        x if norm is None else norm,
        x if bias is None else bias,
        x if residual is None else residual,
        out,
        eps=eps,
        N=width,
        K=columns,
        BITS=bits,
        GROUP=block_size,
        INPUTS=input_scale is not None,
        NORM=norm is not None,
        GATED=gated,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        ROWS=blocks.rows,
        GROUPS=blocks.columns // block_size,
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
        OWN=cos.dim() == 3,
        num_warps=4,
    )
    wrap_triton(aot_kernels.attend_join)[(batch * heads,)](
        partial, peaks, sums, out, D=size, SPLITS=_PARTS, num_warps=4
    )
    return out
