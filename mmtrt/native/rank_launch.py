"""Start one process for each rank of an engine, watch them, and end them all when one ends early.

The process that was started is the parent: it computes nothing and imports no torch. Rank 0 is the
same command again and answers for all; the others (``rank_follower``) do what it does. Ranks meet
through a file in a directory of their own, and talk over the loopback interface or between GPUs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.native.aot_config import CONFIG_FILE
from mmtrt.native.errors import NativeError, report

RANK = "MMTRT_RANK"
RANKS = "MMTRT_RANKS"
MEETING = "MMTRT_RANK_MEETING"
"""Names in a rank's environment: its number, how many there are, the file where they meet."""
KEY = "MMTRT_RANK_KEY"
"""Known to the ranks of one launch only: they send each other pickles."""
_PARENT = "MMTRT_RANK_PARENT"

# All chosen: ranks that wait for one that has ended notice it within milliseconds, and end too; the
# last lines of a traceback tell the error; what a rank has said is read within moments of its end;
# whoever presses Ctrl-C does not notice half a second.
_SETTLE_S = 0.3
_READ_S = 5.0
_WAKE_S = 0.5
_KEPT_LINES = 12
_EXIT_LOST = 1
_EXIT_INTERRUPTED = 130
_CONSEQUENCE = re.compile(r"by peer|gloo|c10d|NCCL|[Pp]rocess ?[Gg]roup")
"""In the last lines of a rank that has ended because another one had."""
_USER_EXITS = (2, 5)
"""Exit statuses of what ``mmtrt.native.errors`` reports: a mistake, or a host that lacks something.
"""


class RankLost(NativeError):
    """A rank ended while others still ran; exit status 1."""

    exit_code = _EXIT_LOST


@dataclass
class _Rank:
    """A started rank."""

    number: int
    process: subprocess.Popen[str]
    reader: threading.Thread
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))

    @property
    def is_consequence(self) -> bool:
        """Whether it seems to have ended because another one had."""
        return any(_CONSEQUENCE.search(line) for line in self.lines)

    @property
    def mistake(self) -> list[str]:
        """The lines of the mistake that it has reported, where that is why it ended."""
        lines = list(self.lines)
        places = [place for place, line in enumerate(lines) if line.startswith("error[")]
        is_reported = self.process.returncode in _USER_EXITS and places
        return lines[places[-1] :] if is_reported else []


def is_rank() -> bool:
    """Return whether this process was started as a rank, or runs alone."""
    return RANK in os.environ


def launch(first: Sequence[str], others: Sequence[str], ranks: int) -> int:
    """Run ranks to their end and return the exit status of the whole.

    Args:
        first: command of rank 0; its output is passed on.
        others: command of all others, which run until they are ended; their output is kept for a
            failure.
        ranks: how many.

    Returns:
        0 when rank 0 has ended well; 2 or 5 when a rank has reported a mistake.

    Raises:
        RankLost: PAR203, when a rank has ended otherwise; the others were ended too.
    """
    ended: queue.Queue[int] = queue.Queue()
    failed = threading.Event()
    started: list[_Rank] = []
    with _meeting() as meeting, _terminated_as_interrupt():
        try:
            key = secrets.token_hex(32)
            for number in range(ranks):
                command = first if number == 0 else others
                environment = _environment(number, ranks, meeting, key)
                started.append(_start(number, command, environment, ended, failed))
            return _verdict(started, list(_ends(started, ended)))
        finally:
            _end(started)


def _ends(started: Sequence[_Rank], ended: queue.Queue[int]) -> Iterator[int]:
    """Yield the ranks that decide how it went, in the order of their ends.

    A follower ends well when rank 0 has left, which may be told later than that.
    """
    deadline = math.inf
    while True:
        left = max(deadline - time.monotonic(), 0)
        try:
            # Never without end: a signal that comes while we are stopped (Ctrl-Z, then `kill %1`)
            # may be handed to another thread, and then does not wake this one.
            number = ended.get(timeout=min(left, _WAKE_S))
        except queue.Empty:
            if not left:
                return
            continue
        status = started[number].process.returncode
        if number == 0 or status != 0:
            yield number
            if number == 0 and status == 0:
                return
            deadline = min(deadline, time.monotonic() + _SETTLE_S)


def _environment(number: int, ranks: int, meeting: Path, key: str) -> dict[str, str]:
    defaults = {
        # Ranks that all take every core slow each other down.
        "OMP_NUM_THREADS": str(max(_cores() // ranks, 1)),
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
    own = {
        RANK: str(number),
        RANKS: str(ranks),
        MEETING: str(meeting),
        KEY: key,
        _PARENT: str(os.getpid()),
    }
    return {**defaults, **os.environ, **own}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(
    number: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    ended: queue.Queue[int],
    failed: threading.Event,
) -> _Rank:
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=None if number == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            # What a rank says about the loss of another one hides the reason.
            if number == 0 and not failed.is_set():
                print(line, end="", file=sys.stderr, flush=True)  # noqa: T201 - passed on

    def wait() -> None:
        # Told at once, not when its last line is read: the order of ends tells who was first.
        process.wait()
        if number != 0 and process.returncode != 0:
            failed.set()
        ended.put(number)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    threading.Thread(target=wait, daemon=True).start()
    return _Rank(number, process, reader, lines)


def _verdict(started: Sequence[_Rank], order: Sequence[int]) -> int:
    """Return the exit status of the whole, from the ranks that have ended, in order.

    Raises:
        RankLost: PAR203, unless rank 0 has ended well or a rank has reported a mistake.
    """
    over = [started[number] for number in order]
    for rank in over:
        rank.reader.join(timeout=_READ_S)
        if rank.number == 0 and rank.process.returncode in (0, _EXIT_INTERRUPTED):
            return int(rank.process.returncode)
    for rank in over:
        if rank.mistake:
            if rank.number != 0:
                print("\n".join(rank.mistake), file=sys.stderr)  # noqa: T201 - passed on
            return int(rank.process.returncode)
    # The first that ended; but where a busy machine has told of several at once, the likeliest.
    rank = min(over, key=lambda rank: (rank.process.returncode >= 0, rank.is_consequence))
    status, lines = rank.process.returncode, list(rank.lines)
    how = f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
    hint = "; often the kernel's out-of-memory killer" if status == -signal.SIGKILL else ""
    raise RankLost(
        f"rank {rank.number} of {len(started)} ended: {how}{hint}",
        code="PAR203",
        why="\n       ".join(["its last lines, before the other ranks were ended:", *lines])
        if lines
        else "it said nothing; the other ranks were ended",
    )


def _end(started: Sequence[_Rank]) -> None:
    for rank in started:
        if rank.process.poll() is None:
            rank.process.kill()
    for rank in started:
        rank.process.wait()


@contextlib.contextmanager
def _meeting() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mmtrt-ranks-", ignore_cleanup_errors=True) as name:
        yield Path(name) / "meeting"


@contextlib.contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that ranks are ended and the meeting place is removed."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def in_ranks(
    module: str, argv: Sequence[str] | None, engine_dir: Path, stage: Callable[[], int]
) -> int:
    """Run a stage that uses engines in as many processes as they have ranks.

    Args:
        module: the stage's module, which rank 0 runs again.
        argv: its flags; those of this process where ``None``.
        engine_dir: holds the language model's engine as ``llm/``.
        stage: what the module does; returns the exit status.

    Returns:
        The exit status.
    """
    if is_rank():
        return as_rank(stage)
    llm_dir = engine_dir / "llm"
    ranks = _ranks_of(llm_dir)
    if ranks == 1:
        return stage()
    flags = sys.argv[1:] if argv is None else argv
    follower = [sys.executable, "-m", "mmtrt.native.rank_follower", "--llm-dir", str(llm_dir)]
    status = 0

    def start() -> None:
        nonlocal status
        status = launch([sys.executable, "-m", module, *flags], follower, ranks)

    return report(start) or status


def _ranks_of(llm_dir: Path) -> int:
    """Return the ranks of an engine; 1 where it does not say, or is not there."""
    try:
        document = json.loads((llm_dir / CONFIG_FILE).read_text(encoding="utf-8"))
        return int(document.get("ranks", 1))
    except (OSError, ValueError, AttributeError):
        return 1


def as_rank(stage: Callable[[], int]) -> int:
    """Run a stage as one rank and end the process with its status.

    Ends without the interpreter's clean-up, whose collectives would wait for ranks that are gone,
    and which would make the first rank that fails look like the last.
    """
    die_with_parent()
    try:
        status = stage()
    except BaseException:  # noqa: BLE001 - told, and the process ends with it
        sys.excepthook(*sys.exc_info())
        status = _EXIT_LOST
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def die_with_parent() -> None:
    """Make sure that this rank does not outlive the process that started it, however that ends."""
    parent = int(os.environ[_PARENT])
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(_EXIT_LOST)

    if os.getppid() != parent:
        os._exit(_EXIT_LOST)
    if sys.platform != "linux":
        threading.Thread(target=watch, daemon=True).start()
