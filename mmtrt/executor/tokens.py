"""Leases on what stages share: GPUs by id, host memory, and places in the line."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from mmtrt.backends.base import Resources
from mmtrt.host import HostInfo


@dataclass(slots=True)
class Lease:
    """What one running stage holds."""

    gpus: tuple[str, ...] = ()
    """UUIDs, for ``CUDA_VISIBLE_DEVICES``."""
    ram_bytes: int = 0
    locks: list[int] = field(default_factory=list)
    """Open descriptors of the GPU lock files; closing one gives the GPU back."""
    is_alone: bool = False
    """Whether nothing else may be started meanwhile."""


class Tokens:
    """The shares of one host; GPU leases also hold against other mmtrt processes.

    A GPU lease is a flock on a file named for the GPU's UUID, so it dies with its holder. Two
    builds on one GPU could otherwise silently make worse engines: TensorRT skips tactics when
    memory is short.
    """

    def __init__(self, host: HostInfo, locks: Path, jobs: int | None = None) -> None:
        """Divide up ``host``; GPU lock files lie in ``locks``."""
        self._jobs = jobs or host.cpus
        self._ram = host.ram_bytes
        self._gpus = [gpu.uuid for gpu in host.gpus]
        self._locks = locks
        self._held: list[Lease] = []

    def lacks(self, wanted: Resources) -> str | None:
        """Return why a stage can never run here, or ``None``."""
        if wanted.gpus > len(self._gpus):
            return f"it needs {wanted.gpus} GPU(s), this host shows {len(self._gpus)}"
        return None

    @property
    def is_full(self) -> bool:
        """Whether as many stages run as may."""
        return len(self._held) >= self._jobs or any(lease.is_alone for lease in self._held)

    def take(self, wanted: Resources, is_alone: bool = False) -> Lease | None:
        """Return a lease, or ``None`` if something is taken right now.

        Args:
            wanted: what the stage needs.
            is_alone: whether it shares the host with nothing; others are not held up for it, so it
                waits until nothing else runs.
        """
        if self.is_full or (is_alone and self._held):
            return None
        used = sum(lease.ram_bytes for lease in self._held)
        # A stage that wants more memory than there is may still run, but then alone.
        if self._held and used + wanted.ram_bytes > self._ram:
            return None
        lease = Lease(ram_bytes=wanted.ram_bytes, is_alone=is_alone)
        if wanted.gpus and not self._take_gpus(wanted.gpus, lease):
            return None
        self._held.append(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Return a lease."""
        for descriptor in lease.locks:
            os.close(descriptor)
        lease.locks.clear()
        if lease in self._held:
            self._held.remove(lease)

    def _take_gpus(self, count: int, lease: Lease) -> bool:
        taken = []
        self._locks.mkdir(parents=True, exist_ok=True)
        for uuid in self._gpus:
            descriptor = os.open(self._locks / f"gpu-{uuid}.lock", os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            lease.locks.append(descriptor)
            taken.append(uuid)
            if len(taken) == count:
                lease.gpus = tuple(taken)
                return True
        for descriptor in lease.locks:
            os.close(descriptor)
        lease.locks.clear()
        return False
