"""The Triton kernels beside the plain steps, run by Triton's interpreter: no GPU is needed."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

# Read when triton is imported for the first time.
os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from mmtrt.native import aot_kernels, aot_ops

EPS = 1e-5


def matvec(x: Any, weight: Any, norm: Any, bias: Any, residual: Any, *, gated: bool) -> Any:
    width, rows, block = weight.shape[0] // (2 if gated else 1), 4, 128
    out = torch.full((1, width), torch.nan)
    aot_kernels.matvec[(-(-width // rows),)](
        x,
        weight,
        x if norm is None else norm,
        x if bias is None else bias,
        x if residual is None else residual,
        out,
        eps=EPS,
        N=width,
        K=weight.shape[1],
        NORM=norm is not None,
        GATED=gated,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        ROWS=rows,
        BLOCK=block,
        STAGES=1,
    )
    return out


@pytest.mark.parametrize(("width", "columns"), [(64, 256), (50, 200)])
def test_matvec(width: int, columns: int) -> None:
    torch.manual_seed(0)
    x, norm = torch.randn(1, columns), torch.randn(columns)
    weight, bias, residual = torch.randn(width, columns), torch.randn(width), torch.randn(1, width)
    close = {"atol": 1e-3, "rtol": 1e-4}
    found = matvec(x, weight, norm, bias, None, gated=False)
    torch.testing.assert_close(found, aot_ops.norm_linear(x, norm, EPS, weight, bias), **close)
    found = matvec(x, weight, norm, bias, None, gated=True)
    torch.testing.assert_close(found, aot_ops.norm_gated(x, norm, EPS, weight, bias), **close)
    found = matvec(x, weight, None, None, residual, gated=False)
    torch.testing.assert_close(found, aot_ops.linear_add(x, weight, None, residual), **close)


@pytest.mark.parametrize(
    ("groups", "share", "lengths"), [(2, 1, [150]), (2, 3, [0, 7]), (4, 4, [0, 64, 199])]
)
def test_attention_equals_the_plain_one_and_writes_the_same_cache(
    groups: int, share: int, lengths: list[int]
) -> None:
    torch.manual_seed(0)
    size, places, splits, batch, heads = 32, 200, 4, len(lengths), groups * share
    angles = torch.randn(places, size // 2).repeat(1, 2)
    cos, sin, filled = angles.cos(), angles.sin(), torch.tensor(lengths)
    qkv = torch.randn(batch, (heads + 2 * groups) * size)
    keys, values = (torch.randn(batch, groups, places + 1, size) for _ in range(2))
    ours, theirs = (keys, values), (keys.clone(), values.clone())
    expected = aot_ops.attend_one(qkv, cos, sin, filled, torch.arange(places), *theirs)
    partial = torch.full((batch, heads, splits, size), torch.nan)
    peaks, sums = (torch.full((batch, heads, splits), torch.nan) for _ in range(2))
    out = torch.full((batch, heads * size), torch.nan)
    aot_kernels.attend_split[(batch * groups, splits)](
        *(qkv, cos, sin, filled, *ours, partial, peaks, sums),
        scale=size**-0.5,
        GROUPS=groups,
        SHARE=share,
        D=size,
        MAX=places + 1,
        SPLITS=splits,
        BLOCK=32,
        PADDED=16,
    )
    aot_kernels.attend_join[(batch * heads,)](partial, peaks, sums, out, D=size, SPLITS=splits)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
