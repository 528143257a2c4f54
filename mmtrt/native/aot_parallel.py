"""The steps of ``aot_ops`` or ``aot_triton`` for one rank of several, and the sums between them.

What the ranks exchange is part of the graph: two sums over the ranks for each layer, one for the
embedding, and one that puts the logits together, of which each rank computes its part. The graph
names neither its rank nor the way of transport, so one package serves all ranks, over gloo or NCCL.

Source: Shoeybi et al., Megatron-LM (arXiv:1909.08053), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import distributed

from mmtrt.native.aot_matrix import Matrix

GROUP = "0"
"""PyTorch's name for the group of all processes, whichever they are."""

# Importing ``distributed`` registers them; their functional forms are what graphs can hold.
_ops: Any = torch.ops._c10d_functional


class RankOps:
    """Steps for weights that are split as ``tensor_split`` says.

    Embedding and head have ``vocab_rows`` rows, of which the last rank's may be padding.
    """

    def __init__(self, ops: Any) -> None:
        """Take the steps inside a rank from ``ops``."""
        self._ops = ops
        self.norm_linear, self.norm_gated = ops.norm_linear, ops.norm_gated
        self.attend_one, self.attend_prompt = ops.attend_one, ops.attend_prompt

    def embed(self, ids: torch.Tensor, table: torch.Tensor, first_id: torch.Tensor) -> torch.Tensor:
        """Return the rows of the embedding, each of which one rank has."""
        rows = table.shape[0]
        local = ids - first_id[0, 0]
        mine = (local >= 0) & (local < rows)
        own = table[local.clamp(0, rows - 1)]
        return summed(torch.where(mine[..., None], own, torch.zeros_like(own)))

    def linear_add(
        self,
        x: torch.Tensor,
        matrix: Matrix,
        residual: torch.Tensor,
    ) -> torch.Tensor:
        """Return ``residual`` plus x times all ranks' columns of the matrix, its bias once."""
        whole = residual + summed(self._ops.linear(x, replace(matrix, bias=None)))
        return whole if matrix.bias is None else whole + matrix.bias

    def logits(
        self,
        x: torch.Tensor,
        norm: torch.Tensor,
        eps: float,
        head: torch.Tensor,
        vocab_size: int,
        first_id: torch.Tensor,
    ) -> torch.Tensor:
        """Return the logits of every token, float32 ``[B, V]``, on every rank.

        A sum with zeros, not a gathering, which moves half as much: packages call that one through
        Python, which then owns a tensor that a thread of gloo lets go of. It takes Python's lock to
        do so, a call of a package keeps the lock, and nobody goes on (*measured* with torch 2.13:
        about every other run). For the same reason what is returned is a view of what was summed.
        """
        own = self._ops.norm_linear(x, norm, eps, Matrix.plain(head))
        places = torch.arange(vocab_size, device=own.device) - first_id[0]
        mine = (places >= 0) & (places < own.shape[1])
        spread = own[:, places.clamp(0, own.shape[1] - 1)]
        whole = torch.where(mine, spread, torch.zeros_like(spread))
        return summed(whole.reshape(-1)).view(whole.shape).float()


def summed(x: torch.Tensor) -> torch.Tensor:
    """Return the sum over the ranks."""
    return _ops.wait_tensor(_ops.all_reduce(x, "sum", GROUP))


@contextmanager
def compiling_for(ranks: int) -> Iterator[None]:
    """Stand in for the other ranks, which inductor looks up, while graphs are compiled."""
    if ranks == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield
    finally:
        distributed.destroy_process_group()
