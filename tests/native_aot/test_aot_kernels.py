"""The Triton kernels beside the plain steps, run by Triton's interpreter: no GPU is needed."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

# Read when triton is imported for the first time.
os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from mmtrt.native import aot_kernels, aot_ops, aot_packed_kernels
from mmtrt.native.aot_matrix import Matrix
from mmtrt.native.block_quantization import BLOCK_SIZES
from tests.native_aot.matrices import packed_matrix

EPS = 1e-5


def matvec(matrix: Matrix, x: Any, norm: Any = None, residual: Any = None, **given: Any) -> Any:
    """Call the kernel of a matrix as ``aot_triton`` does, with blocks that are smaller than it."""
    gated = given.get("gated", False)
    rows, bias, scale = 4, matrix.bias, matrix.scale
    width = matrix.rows // (2 if gated else 1)
    out = torch.full((1, width), torch.nan, dtype=x.dtype)
    shared = {
        "eps": EPS,
        "N": width,
        "K": matrix.columns,
        "NORM": norm is not None,
        "GATED": gated,
        "BIAS": bias is not None,
        "RESIDUAL": residual is not None,
        "ROWS": rows,
    }
    after = [x if each is None else each for each in (norm, bias, residual)]
    grid = (-(-width // rows),)
    if matrix.bits:
        inputs = matrix.input_scale
        aot_packed_kernels.matvec_packed[grid](
            *(x, matrix.values, scale, x if inputs is None else inputs, *after, out),
            BITS=matrix.bits,
            GROUP=matrix.block_size,
            INPUTS=inputs is not None,
            GROUPS=max(1, 128 // matrix.block_size),
            **shared,
        )
    else:
        aot_kernels.matvec[grid](
            *(x, matrix.values, x if scale is None else scale, *after, out),
            SCALED=scale is not None,
            BLOCK=128,
            STAGES=1,
            **shared,
        )
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("format_", ["none", "fp8", "int8_wo", "int4_wo", "int4_awq"])
@pytest.mark.parametrize(("width", "columns"), [(64, 256), (50, 200)])
def test_matvec(format_: str, width: int, columns: int, dtype: torch.dtype) -> None:
    """Of whole and of broken blocks, with all that may stand before and after."""
    torch.manual_seed(0)
    x, norm = torch.randn(1, columns).to(dtype), torch.randn(columns).to(dtype)
    matrix = packed_matrix(format_, width, columns, dtype=dtype)
    residual = torch.randn(1, width).to(dtype)
    # The kernel keeps in float32 what plain steps round on the way.
    wide = matrix_in_float32(matrix)
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]

    def check(found: torch.Tensor, expected: torch.Tensor) -> None:
        assert found.dtype == dtype
        atol = tolerance * float(expected.abs().max())
        torch.testing.assert_close(found.float(), expected, atol=atol, rtol=0)

    normed = (x.float(), norm.float(), EPS, wide)
    check(matvec(matrix, x, norm), aot_ops.norm_linear(*normed))
    check(matvec(matrix, x, norm, gated=True), aot_ops.norm_gated(*normed))
    expected = aot_ops.linear_add(x.float(), wide, residual.float())
    check(matvec(matrix, x, residual=residual), expected)


@pytest.mark.parametrize("format_", ["int8_wo", "int4_wo"])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_matvec_of_every_block_size(format_: str, block_size: int) -> None:
    torch.manual_seed(0)
    x, dtype = torch.randn(1, 300), torch.float32
    matrix = packed_matrix(format_, 12, 300, dtype=dtype, block_size=block_size)
    expected = aot_ops.linear(x, matrix)
    torch.testing.assert_close(matvec(matrix, x), expected, atol=1e-5, rtol=1e-5)


def test_blocks_that_are_timed_fit_every_block_size() -> None:
    from mmtrt.native import aot_tuning

    for format_ in ("int8_wo", "int4_wo"):
        matrix = packed_matrix(format_, 8, 64, dtype=torch.float32)
        for blocks in aot_tuning.candidates(matrix):
            assert all(blocks.columns % size == 0 for size in BLOCK_SIZES)
            # 16 bytes of a row for each thread.
            assert blocks.columns * matrix.bits // 8 == 16 * 32 * blocks.warps


def matrix_in_float32(matrix: Matrix) -> Matrix:
    bias = None if matrix.bias is None else matrix.bias.float()
    dense = matrix.dense(torch.float32)
    return Matrix(values=dense, columns=matrix.columns, bias=bias, input_scale=matrix.input_scale)


@pytest.mark.parametrize("own", [False, True], ids=["table", "own rows"])
@pytest.mark.parametrize(
    ("groups", "share", "lengths"), [(2, 1, [150]), (2, 3, [0, 7]), (4, 4, [0, 64, 199])]
)
def test_attention_equals_the_plain_one_and_writes_the_same_cache(
    groups: int, share: int, lengths: list[int], own: bool
) -> None:
    torch.manual_seed(0)
    size, places, splits, batch, heads = 32, 200, 4, len(lengths), groups * share
    angles = torch.randn(places, size // 2).repeat(1, 2)
    cos, sin, filled = angles.cos(), angles.sin(), torch.tensor(lengths)
    if own:
        cos, sin = (each[torch.randperm(places)[:batch]][:, None] for each in (cos, sin))
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
        OWN=own,
    )
    aot_kernels.attend_join[(batch * heads,)](partial, peaks, sums, out, D=size, SPLITS=splits)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
