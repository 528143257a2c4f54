"""Choose the block sizes of the matrix kernel by timing them on the GPU that packages are for.

No rule fits: the one that was good on an H100 takes up to 39 % longer than the best choice on an
H200 (docs/benchmarks.md).
"""

from __future__ import annotations

import fcntl
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from mmtrt.native import aot_triton
from mmtrt.native.aot_llm import MergedDecoder
from mmtrt.native.aot_matrix import Matrix
from mmtrt.native.aot_triton import Blocks
from mmtrt.native.progress import say

CANDIDATES = (
    Blocks(rows=1, columns=2048, warps=8),
    Blocks(rows=2, columns=2048, warps=8),
    Blocks(rows=1, columns=4096, warps=8),
    Blocks(rows=4, columns=1024, warps=8),
    Blocks(rows=2, columns=1024, warps=4),
    Blocks(rows=1, columns=1024, warps=4),
    Blocks(rows=1, columns=1024, warps=2),
    Blocks(rows=2, columns=512, warps=2),
)
_FLOAT8 = (
    Blocks(rows=1, columns=2048, warps=4),
    Blocks(rows=2, columns=2048, warps=4),
    Blocks(rows=4, columns=2048, warps=4),
    Blocks(rows=2, columns=1024, warps=2),
    Blocks(rows=4, columns=1024, warps=2),
    Blocks(rows=8, columns=1024, warps=2),
    Blocks(rows=1, columns=4096, warps=8),
    Blocks(rows=2, columns=4096, warps=8),
)
_PACKED = ((2, 2), (2, 4), (4, 1), (4, 2), (4, 4), (8, 2))
"""Rows and warps; columns follow from them."""
_BYTES = 512 << 20
"""Weights that are read in turn: several times what an L2 cache holds."""
_ROUNDS, _REPLAYS = 7, 5
_EPS = 1e-5


def tune(decoder: MergedDecoder) -> None:
    """Set ``aot_triton.CHOSEN`` for the matrices of a decoder on a GPU.

    Takes next to no memory: weights are read where they lie. Compiling and timing take a minute.
    """
    layers: Sequence[Any] = list(decoder.layers)
    steps = {
        "qkv": (_normed, [each.qkv.matrix for each in layers]),
        "out": (_added, [each.out.matrix for each in layers]),
        "gate_up": (_gated, [each.gate_up.matrix for each in layers]),
        "down": (_added, [each.down.matrix for each in layers]),
        "head": (_normed, [Matrix.plain(decoder.head)]),
    }
    dtype = decoder.dtype
    for step, matrices in steps.values():
        for blocks in candidates(matrices[0]):
            _product(step, matrices[:1], blocks, dtype)()
    with _alone():
        for name, (step, matrices) in steps.items():
            first = matrices[0]
            some = matrices[: max(1, _BYTES // first.values.nbytes)]
            times = {
                blocks: _microseconds(_product(step, some, blocks, dtype)) / len(some)
                for blocks in candidates(first)
            }
            best = min(times, key=lambda blocks: times[blocks])
            aot_triton.CHOSEN[first.kind] = best
            say(
                f"{name} {first.rows} x {first.columns}: blocks {best.rows} x {best.columns}, "
                f"{best.warps} warps, {times[best]:.1f} us, others up to {max(times.values()):.1f}"
            )


def candidates(matrix: Matrix) -> tuple[Blocks, ...]:
    """Return the blocks that are timed for a matrix."""
    if matrix.bits:
        return tuple(
            aot_triton.packed_blocks(matrix.bits, rows=rows, warps=warps) for rows, warps in _PACKED
        )
    return _FLOAT8 if matrix.scale is not None else CANDIDATES


_Step: TypeAlias = Callable[[Matrix, torch.Tensor, torch.Tensor], torch.Tensor]
"""A matrix, ones ``[1, K]`` and ones ``[1, N]`` to the output."""


def _unbiased(matrix: Matrix) -> Matrix:
    return replace(matrix, bias=None)


def _normed(matrix: Matrix, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.norm_linear(x, x[0], _EPS, _unbiased(matrix))


def _gated(matrix: Matrix, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.norm_gated(x, x[0], _EPS, _unbiased(matrix))


def _added(matrix: Matrix, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.linear_add(x, _unbiased(matrix), y)


def _product(
    step: _Step, matrices: Sequence[Matrix], blocks: Blocks, dtype: torch.dtype
) -> Callable[[], object]:
    """Return what multiplies by each of some matrices with these blocks, from now on chosen."""
    first = matrices[0]
    x, y = (
        torch.ones((1, side), dtype=dtype, device=first.values.device)
        for side in (first.columns, first.rows)
    )
    aot_triton.CHOSEN[first.kind] = blocks
    return lambda: [step(matrix, x, y) for matrix in matrices]


def _microseconds(work: Callable[[], object]) -> float:
    """Return the median time of a call, replayed as a CUDA graph: launches cost nothing there."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    graph.replay()
    times = []
    for _ in range(_ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(_REPLAYS):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / _REPLAYS * 1e3)
    return statistics.median(times)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for other builds on this machine: the times of two at once tell nothing."""
    path = Path(tempfile.gettempdir()) / f"mmtrt-tuning-{os.getuid()}.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
