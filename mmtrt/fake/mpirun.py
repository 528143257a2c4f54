"""``mpirun``: really starts the processes and numbers them as Open MPI does.

Source: Open MPI 4, ``mpirun(1)``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NoReturn

from mmtrt.fake import log
from mmtrt.fake.failure import UsageFailure

AS_ROOT = """\
--------------------------------------------------------------------------
mpirun has detected an attempt to run as root.

Running as root is *strongly* discouraged as any mistake (e.g., in
defining TMPDIR) or bug can result in catastrophic damage to the OS
file system, leaving your system in an unusable state.

We strongly suggest that you run mpirun as a non-root user.

You can override this protection by adding the --allow-run-as-root option
to the cmd line or by setting two environment variables:
OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1.
--------------------------------------------------------------------------"""
ALLOWING = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
POLL_S = 0.01


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageFailure(f"mpirun: Error: {message}\nType 'mpirun --help' for usage.")


def run(tool: str, words: Sequence[str]) -> int:
    """Run a program several times; return the exit status of the first that fails, or 0."""
    parser = _Parser(prog=tool, allow_abbrev=False)
    parser.add_argument("-n", "-np", "--n", "--np", "-c", dest="count", type=int, default=1)
    parser.add_argument("--allow-run-as-root", "-allow-run-as-root", action="store_true")
    parser.add_argument("--oversubscribe", "--tag-output", "-q", action="store_true")
    parser.add_argument("-x", dest="env", action="append", default=[])
    parser.add_argument("--bind-to", "-bind-to")
    parser.add_argument("--mca", "-mca", nargs=2, action="append")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(list(words))
    allowed = args.allow_run_as_root or all(os.environ.get(name) == "1" for name in ALLOWING)
    if os.geteuid() == 0 and not allowed:
        raise_as_root()
    if not args.command or args.count < 1:
        parser.error("no program to run, or no number of processes")
    return _run_all(args.command, args.count, args.env)


def raise_as_root() -> NoReturn:
    """Refuse to run as root.

    Raises:
        UsageFailure: always.
    """
    failure = UsageFailure(AS_ROOT)
    failure.exit_code = 1
    raise failure


def _run_all(command: list[str], count: int, exported: list[str]) -> int:
    extra = dict(pair.partition("=")[::2] for pair in exported if "=" in pair)
    children: list[subprocess.Popen[bytes]] = []

    def stop(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for rank in range(count):
        env = os.environ | extra | numbers(rank, count)
        try:
            children.append(subprocess.Popen(command, env=env))
        except OSError:
            stop(signal.SIGTERM, None)
            raise UsageFailure(
                f"mpirun was unable to find the specified executable file:\nFile: {command[0]}"
            ) from None
    return _wait(children)


def numbers(rank: int, count: int) -> dict[str, str]:
    """Return the variables that tell a process its number."""
    return {
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(count),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
    }


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all; when one fails the others are stopped, as MPI does."""
    while True:
        states = [child.poll() for child in children]
        failed = next(((rank, s) for rank, s in enumerate(states) if s), None)
        if failed is not None:
            for child in children:
                if child.poll() is None:
                    child.terminate()
            for child in children:
                child.wait()
            status = failed[1] if failed[1] > 0 else 128 - failed[1]
            log.plain(
                "mpirun detected that one or more processes exited with non-zero status, thus "
                f"causing the job to be terminated. Process {failed[0]}, exit code {status}"
            )
            return status
        if all(state is not None for state in states):
            return 0
        time.sleep(POLL_S)
