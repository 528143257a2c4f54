"""The processes that share one engine, seen from inside one of them."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from mmtrt.native.errors import NativeError
from mmtrt.native.rank_launch import KEY, MEETING, RANK, RANKS, is_rank

_TIMEOUT = timedelta(minutes=30)
"""*Chosen*: ranks wait for each other while the slowest disk is read; a rank that has ended is
noticed at once, by the parent."""
_ADDRESS = "leader"
"""Where rank 0 listens, in the store of the group."""


class RankGroup:
    """All ranks of an engine; rank 0 leads."""

    def __init__(self, rank: int, ranks: int, device: str, meeting: Path, key: bytes) -> None:
        """Meet the others.

        Args:
            rank: this process.
            ranks: how many there are.
            device: ``cpu`` or ``cuda``, where each rank takes the GPU of its number.
            meeting: a file that all of them can write.
            key: known to these ranks only.
        """
        self.rank, self.ranks = rank, ranks
        gpus = torch.cuda.device_count() if device == "cuda" else 0
        if gpus:
            # Several ranks may use one GPU, to try things out; NCCL refuses that, gloo does not.
            torch.cuda.set_device(rank % gpus)
        self.has_nccl = gpus >= ranks
        """Whether ranks exchange tensors without the host, so that steps can be captured."""
        store = distributed.FileStore(str(meeting), ranks)
        distributed.init_process_group(
            "nccl" if gpus >= ranks else "gloo",
            store=store,
            rank=rank,
            world_size=ranks,
            timeout=_TIMEOUT,
        )
        self._connections = _followers(store, ranks, key) if rank == 0 else [_leader(store, key)]

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def send(self, value: Any) -> None:
        """Give the followers something to do.

        Not by a collective: gloo's threads would let go of what Python owns, see
        ``RankOps.logits``.
        """
        for connection in self._connections:
            connection.send(value)

    def receive(self) -> Any:
        """Return what rank 0 has sent; ``EOFError`` when it has ended."""
        return self._connections[0].recv()


def join_group(ranks: int, device: str) -> RankGroup:
    """Meet the other ranks of an engine.

    Raises:
        NativeError: PAR204, if this process was not started as one of so many ranks.
    """
    here = int(os.environ[RANKS]) if is_rank() else 1
    if here != ranks:
        raise NativeError(
            f"the engine has {ranks} ranks, and {here} was started"
            if here == 1
            else f"the engine has {ranks} ranks, and {here} were started",
            code="PAR204",
            why="each rank is a process of its own with its share of the weights",
            fix="run it by python -m mmtrt.native.run, which starts them",
        )
    key = bytes.fromhex(os.environ[KEY])
    return RankGroup(int(os.environ[RANK]), ranks, device, Path(os.environ[MEETING]), key)


def _followers(store: distributed.Store, ranks: int, key: bytes) -> list[Connection]:
    with Listener(("127.0.0.1", 0), authkey=key) as listener:
        store.set(_ADDRESS, json.dumps(listener.address))
        return [listener.accept() for _ in range(ranks - 1)]


def _leader(store: distributed.Store, key: bytes) -> Connection:
    host, port = json.loads(store.get(_ADDRESS))
    return Client((host, port), authkey=key)
