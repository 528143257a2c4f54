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
from pathlib import Path
from typing import Any, TypeAlias

import torch

from mmtrt.native import aot_triton
from mmtrt.native.aot_llm import MergedDecoder
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
_BYTES = 512 << 20
"""Weights that are read in turn: several times what an L2 cache holds."""
_ROUNDS, _REPLAYS = 7, 5
_EPS = 1e-5


def tune(decoder: MergedDecoder) -> None:
    """Set ``aot_triton.CHOSEN`` for the matrices of a decoder on a GPU.

    Takes next to no memory: weights are read where they lie. Compiling and timing take a minute.
    """
    layers: Sequence[Any] = list(decoder.layers)
    matrices = {
        "qkv": (_normed, [each.qkv.weight for each in layers]),
        "out": (_added, [each.out.weight for each in layers]),
        "gate_up": (_gated, [each.gate_up.weight for each in layers]),
        "down": (_added, [each.down.weight for each in layers]),
        "head": (_normed, [decoder.head]),
    }
    for step, weights in matrices.values():
        for blocks in CANDIDATES:
            _product(step, weights[:1], blocks)()
    with _alone():
        for name, (step, weights) in matrices.items():
            shape = tuple(weights[0].shape)
            some = weights[: max(1, _BYTES // weights[0].nbytes)]
            times = {
                blocks: _microseconds(_product(step, some, blocks)) / len(some)
                for blocks in CANDIDATES
            }
            best = min(times, key=lambda blocks: times[blocks])
            aot_triton.CHOSEN[shape] = best
            say(
                f"{name} {shape[0]} x {shape[1]}: blocks {best.rows} x {best.columns}, "
                f"{best.warps} warps, {times[best]:.1f} us, others up to {max(times.values()):.1f}"
            )


_Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""A weight ``[N, K]``, ones ``[1, K]`` and ones ``[1, N]`` to the output."""


def _normed(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.norm_linear(x, x[0], _EPS, weight, None)


def _gated(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.norm_gated(x, x[0], _EPS, weight, None)


def _added(weight: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return aot_triton.linear_add(x, weight, None, y)


def _product(step: _Step, weights: Sequence[torch.Tensor], blocks: Blocks) -> Callable[[], object]:
    """Return what multiplies by each of some matrices with these blocks, from now on chosen."""
    shape = weights[0].shape
    x, y = (weights[0].new_ones((1, side)) for side in (shape[1], shape[0]))
    aot_triton.CHOSEN[tuple(shape)] = blocks
    return lambda: [step(weight, x, y) for weight in weights]


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
