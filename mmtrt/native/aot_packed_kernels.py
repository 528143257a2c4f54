"""Triton kernel of a decode step: a matrix packed to 8 or 4 bits times a vector.

As ``aot_kernels.matvec`` it reads the matrix in one sweep, with the steps before and after on the
way. Weights become float32 in registers and sums stay in float32. At 4 bits a GPU's memory brings
more weights than its arithmetic can take at a dozen instructions each, so these are counted: a
mask, a conversion and a multiplication. Integers are not shifted down; what they are multiplied by
is made smaller instead, once for all rows. Their zero, the middle of the range, and the scale of a
block are applied to the block's sum.

Legend: K input width, N output width.
"""

# ruff: noqa: N803, N806 - constants of a kernel are in capitals, as in Triton's own;
# mypy cannot see the types of a kernel's arguments.
# mypy: ignore-errors
from __future__ import annotations

import triton
import triton.language as tl

from mmtrt.native.aot_kernels import store_rows


@triton.jit
def matvec_packed(
    x,
    words,
    scales,
    inputs,
    norm,
    bias,
    residual,
    out,
    eps: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    BITS: tl.constexpr,
    GROUP: tl.constexpr,
    INPUTS: tl.constexpr,
    NORM: tl.constexpr,
    GATED: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """Compute N outputs, ROWS in each program, from x ``[K]`` and words of a ``Matrix``.

    GROUP columns share a scale, and GROUPS of them are read at a time. GATED and NORM are those of
    ``matvec``; with INPUTS x is multiplied by ``inputs`` first.
    """
    CODES: tl.constexpr = 32 // BITS
    WORDS: tl.constexpr = GROUP // CODES
    COUNT: tl.constexpr = (K + GROUP - 1) // GROUP
    FIELD: tl.constexpr = (1 << BITS) - 1
    ZERO: tl.constexpr = 1 << (BITS - 1)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = rows < N
    word = tl.arange(0, WORDS)
    # Rows are the middle side of a tile: then a thread holds all of them, and x in the place
    # where it is multiplied.
    start = words + rows.to(tl.int64)[None, :, None] * (COUNT * WORDS)
    total = tl.zeros([GROUPS, ROWS], tl.float32)
    total_up = tl.zeros([GROUPS, ROWS], tl.float32)
    squares = tl.zeros([GROUPS, WORDS], tl.float32)
    for first in tl.range(0, COUNT, GROUPS):
        groups = first + tl.arange(0, GROUPS)
        columns = groups[:, None] * GROUP + word[None, :]
        tile = start + (groups[:, None] * WORDS + word[None, :])[:, None, :]
        inside = is_row[None, :] & (groups < COUNT)[:, None]
        at = rows[None, :] * COUNT + groups[:, None]
        scale = tl.load(scales + at, mask=inside, other=0.0)
        if N % ROWS == 0 and COUNT % GROUPS == 0:
            packed = tl.load(tile, eviction_policy="evict_first")
        else:
            packed = tl.load(tile, mask=inside[:, :, None], other=0, eviction_policy="evict_first")
        packed = packed.to(tl.uint32, bitcast=True)
        part = tl.zeros([GROUPS, ROWS, WORDS], tl.float32)
        if GATED:
            scale_up = tl.load(scales + N * COUNT + at, mask=inside, other=0.0)
            up = tile + N * COUNT * WORDS
            if N % ROWS == 0 and COUNT % GROUPS == 0:
                packed_up = tl.load(up, eviction_policy="evict_first")
            else:
                packed_up = tl.load(
                    up, mask=inside[:, :, None], other=0, eviction_policy="evict_first"
                )
            packed_up = packed_up.to(tl.uint32, bitcast=True)
            part_up = tl.zeros([GROUPS, ROWS, WORDS], tl.float32)
        sums = tl.zeros([GROUPS, WORDS], tl.float32)
        for code in tl.static_range(CODES):
            here = columns + code * WORDS
            if K % (GROUP * GROUPS) == 0:
                entries = tl.load(x + here).to(tl.float32)
            else:
                entries = tl.load(x + here, mask=here < K, other=0.0).to(tl.float32)
            if NORM:
                squares += entries * entries
                entries *= tl.load(norm + here, mask=here < K, other=0.0).to(tl.float32)
            if INPUTS:
                entries *= tl.load(inputs + here, mask=here < K, other=0.0)
            sums += entries
            entries *= 1.0 / (1 << (code * BITS))
            part += (packed & (FIELD << (code * BITS))).to(tl.float32) * entries[:, None, :]
            if GATED:
                integers = (packed_up & (FIELD << (code * BITS))).to(tl.float32)
                part_up += integers * entries[:, None, :]
        zeros = ZERO * tl.sum(sums, 1)[:, None]
        total += (tl.sum(part, 2) - zeros) * scale
        if GATED:
            total_up += (tl.sum(part_up, 2) - zeros) * scale_up
    y, y_up = tl.sum(total, 0), tl.sum(total_up, 0)
    if NORM:
        shrink = 1.0 / tl.sqrt(tl.sum(tl.sum(squares, 1), 0) / K + eps)
        y *= shrink
        y_up *= shrink
    store_rows(y, y_up, bias, residual, out, rows, N, GATED, BIAS, RESIDUAL)
