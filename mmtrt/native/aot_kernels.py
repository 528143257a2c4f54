"""Triton kernels of a decode step: matrix times vector, and attention over the filled cache.

At batch 1 a decode step reads every weight once and does next to nothing with it, so what counts
is that loads never pause: each kernel reads its matrix in one sweep and does the steps before and
after (norm, gate, residual) on the way, which spares launches between matrices.

Legend: K input width, N output width, D head size, MAX ``max_seq_len``.
"""

# ruff: noqa: N803 - constants of a kernel are in capitals, as in Triton's own;
# mypy cannot see the types of a kernel's arguments.
# mypy: ignore-errors
from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

_LOG2_E: Any = tl.constexpr(1.4426950408889634)


@triton.jit
def store_rows(
    y,
    y_up,
    bias,
    residual,
    out,
    rows,
    N: tl.constexpr,
    GATED: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
):
    """Write those of some rows that are below N: bias, gate and residual are the last steps."""
    is_row = rows < N
    if BIAS:
        y += tl.load(bias + rows, mask=is_row, other=0.0).to(tl.float32)
    if GATED:
        if BIAS:
            y_up += tl.load(bias + N + rows, mask=is_row, other=0.0).to(tl.float32)
        y = y / (1.0 + tl.exp(-y)) * y_up
    if RESIDUAL:
        y += tl.load(residual + rows, mask=is_row, other=0.0).to(tl.float32)
    tl.store(out + rows, y.to(out.dtype.element_ty), mask=is_row)


@triton.jit
def matvec(
    x,
    weight,
    scales,
    norm,
    bias,
    residual,
    out,
    eps: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    SCALED: tl.constexpr,
    NORM: tl.constexpr,
    GATED: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Compute N outputs, ROWS in each program, from x ``[K]`` and weight ``[N, K]``.

    With GATED weight is ``[2 N, K]`` and the output ``silu(first half) * second half``. With NORM
    x is normalised first: the sum of squares is known after the same sweep, and scales the result.
    With SCALED each row of the weight has a factor, which does the same.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = rows < N
    start = weight + rows.to(tl.int64)[:, None] * K
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    total_up = tl.zeros([ROWS, BLOCK], tl.float32)
    squares = tl.zeros([BLOCK], tl.float32)
    for first in tl.range(0, K, BLOCK, num_stages=STAGES):
        columns = first + tl.arange(0, BLOCK)
        if K % BLOCK == 0:
            entries = tl.load(x + columns).to(tl.float32)
        else:
            entries = tl.load(x + columns, mask=columns < K, other=0.0).to(tl.float32)
        if NORM:
            squares += entries * entries
            entries *= tl.load(norm + columns, mask=columns < K, other=0.0).to(tl.float32)
        if N % ROWS == 0 and K % BLOCK == 0:
            tile = tl.load(start + columns[None, :], eviction_policy="evict_first")
        else:
            inside = is_row[:, None] & (columns < K)[None, :]
            tile = tl.load(
                start + columns[None, :], mask=inside, other=0.0, eviction_policy="evict_first"
            )
        total += tile.to(tl.float32) * entries[None, :]
        if GATED:
            up = start + (N * K) + columns[None, :]
            if N % ROWS == 0 and K % BLOCK == 0:
                tile_up = tl.load(up, eviction_policy="evict_first")
            else:
                inside = is_row[:, None] & (columns < K)[None, :]
                tile_up = tl.load(up, mask=inside, other=0.0, eviction_policy="evict_first")
            total_up += tile_up.to(tl.float32) * entries[None, :]
    y, y_up = tl.sum(total, 1), tl.sum(total_up, 1)
    if SCALED:
        y *= tl.load(scales + rows, mask=is_row, other=0.0)
        if GATED:
            y_up *= tl.load(scales + N + rows, mask=is_row, other=0.0)
    if NORM:
        shrink = 1.0 / tl.sqrt(tl.sum(squares, 0) / K + eps)
        y *= shrink
        y_up *= shrink
    store_rows(y, y_up, bias, residual, out, rows, N, GATED, BIAS, RESIDUAL)


@triton.jit
def attend_split(
    qkv,
    cos,
    sin,
    lengths,
    keys,
    values,
    partial,
    peaks,
    sums,
    scale: tl.constexpr,
    GROUPS: tl.constexpr,
    SHARE: tl.constexpr,
    D: tl.constexpr,
    MAX: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
    PADDED: tl.constexpr,
    OWN: tl.constexpr,
):
    """Attend to one of SPLITS parts of a request's filled cache; part 0 adds the new token.

    One program serves the SHARE query heads of a key/value head. Only filled places are read, and
    the new token is written where no program reads, so programs need no order among each other.
    PADDED is SHARE rounded up to what a matrix product takes. With OWN cos and sin have a row for
    each request, else one for each place.
    """
    request = tl.program_id(0) // GROUPS
    group = tl.program_id(0) % GROUPS
    split = tl.program_id(1)
    length = tl.load(lengths + request).to(tl.int32)
    d = tl.arange(0, D)
    # rotate_half: the left half is paired with the right one, and negated there.
    partner = tl.where(d < D // 2, d + D // 2, d - D // 2)
    turn = (request if OWN else length) * D
    c = tl.load(cos + turn + d)
    s = tl.load(sin + turn + d) * tl.where(d < D // 2, -1.0, 1.0)
    heads = tl.arange(0, PADDED)
    is_head = heads < SHARE
    row = qkv + request * (GROUPS * (SHARE + 2)) * D
    at = row + (group * SHARE + heads)[:, None] * D
    query = tl.load(at + d[None, :], mask=is_head[:, None], other=0.0).to(tl.float32)
    turned = tl.load(at + partner[None, :], mask=is_head[:, None], other=0.0).to(tl.float32)
    query = (query * c[None, :] + turned * s[None, :]).to(keys.dtype.element_ty)

    base = (request * GROUPS + group).to(tl.int64) * MAX * D
    blocks = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK)
    first = split * blocks * BLOCK
    last = tl.minimum(first + blocks * BLOCK, length)
    peak = tl.full([PADDED], float("-inf"), tl.float32)
    summed = tl.zeros([PADDED], tl.float32)
    acc = tl.zeros([PADDED, D], tl.float32)
    for start in range(first, last, BLOCK):
        places = start + tl.arange(0, BLOCK)
        is_place = places < last
        tile = base + places[:, None] * D + d[None, :]
        key = tl.load(keys + tile, mask=is_place[:, None], other=0.0)
        value = tl.load(values + tile, mask=is_place[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * (scale * _LOG2_E)
        scores = tl.where(is_place[None, :], scores, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(peak - higher)
        summed = summed * shrink + tl.sum(weights, 1)
        acc = acc * shrink[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        peak = higher
    if split == 0:
        key_at = row + (GROUPS * SHARE + group) * D
        new_key = tl.load(key_at + d).to(tl.float32) * c
        new_key += tl.load(key_at + partner).to(tl.float32) * s
        new_key = new_key.to(keys.dtype.element_ty)
        new_value = tl.load(key_at + GROUPS * D + d)
        tl.store(keys + base + length * D + d, new_key)
        tl.store(values + base + length * D + d, new_value)
        score = tl.sum(query.to(tl.float32) * new_key.to(tl.float32)[None, :], 1)
        score *= scale * _LOG2_E
        higher = tl.maximum(peak, score)
        weight = tl.exp2(score - higher)
        shrink = tl.exp2(peak - higher)
        summed = summed * shrink + weight
        acc = acc * shrink[:, None] + weight[:, None] * new_value.to(tl.float32)[None, :]
        peak = higher
    slots = (tl.program_id(0) * SHARE + heads) * SPLITS + split
    tl.store(peaks + slots, peak, mask=is_head)
    tl.store(sums + slots, summed, mask=is_head)
    tl.store(partial + slots[:, None] * D + d[None, :], acc, mask=is_head[:, None])


@triton.jit
def attend_join(partial, peaks, sums, out, D: tl.constexpr, SPLITS: tl.constexpr):
    """Join the parts of one query head."""
    head = tl.program_id(0)
    d = tl.arange(0, D)
    splits = head * SPLITS + tl.arange(0, SPLITS)
    peak = tl.load(peaks + splits)
    weights = tl.exp2(peak - tl.max(peak, 0))
    whole = tl.sum(weights * tl.load(sums + splits), 0)
    parts = tl.load(partial + splits[:, None] * D + d[None, :])
    y = tl.sum(parts * weights[:, None], 0) / whole
    tl.store(out + head * D + d, y.to(out.dtype.element_ty))
