"""Ranks as processes: who ends whom, and what is said. No torch is needed for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mmtrt.native.rank_launch import RankLost, launch
from tests.waiting import LIMIT_S, lives, wait_for_end, wait_until

FOREVER = "import time\nwhile True: time.sleep(1)"
AS_RANK = "from mmtrt.native.rank_launch import as_rank\n"


WAIT = """
import os, time
from pathlib import Path
def wait_for_the_end_of(place, count):
    while len(pids := [file.name for file in Path(place).glob("pid-*")]) < count:
        time.sleep(0.01)
    while any(os.path.exists(f"/proc/{pid[4:]}") for pid in pids):
        time.sleep(0.01)
"""


def tell(place: Path) -> str:
    """Return code that says in a directory which process this is."""
    return f"import os; open({str(place)!r} + f'/pid-{{os.getpid()}}', 'w').close()\n"


def python(*code: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(map(textwrap.dedent, code))]


def test_all_end_well_when_the_first_does(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    follower = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n{FOREVER}"
    first = f"""
    import os, time
    while not os.path.exists({str(pids)!r}) or open({str(pids)!r}).read().count("\\n") < 2:
        time.sleep(0.01)
    """
    assert launch(python(first), python(follower), 3) == 0
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 2 and not any(map(lives, started))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_follower_that_is_done_first_decides_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = f"""
    import sys
    wait_for_the_end_of({str(tmp_path)!r}, 2)
    print("the answer", file=sys.stderr)
    """
    assert launch(python(WAIT, first), python(tell(tmp_path)), 3) == 0
    assert capfd.readouterr().err == "the answer\n"


def test_a_killed_rank_is_named_with_its_last_lines() -> None:
    follower = f"""
    import os, signal, sys
    print("reading weights", file=sys.stderr, flush=True)
    if os.environ["MMTRT_RANK"] == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    {textwrap.indent(FOREVER, "    ").strip()}
    """
    with pytest.raises(RankLost) as lost:
        launch(python(FOREVER), python(follower), 3)
    assert lost.value.message.startswith("rank 2 of 3 ended: killed by SIGKILL")
    assert "reading weights" in str(lost.value.why)
    assert lost.value.exit_code == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_reason_is_told_and_not_its_consequence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = f"""
    import sys, time
    wait_for_the_end_of({str(tmp_path)!r}, 1)
    time.sleep(0.15)  # while the others may settle
    sys.exit("RuntimeError: [gloo] Connection closed by peer")
    """
    follower = python(AS_RANK, tell(tmp_path), "as_rank(lambda: 1 / 0)")
    with pytest.raises(RankLost) as lost:
        launch(python(WAIT, first), follower, 2)
    assert "rank 1 of 2 ended: exit status 1" in lost.value.message
    assert "ZeroDivisionError" in str(lost.value.why)
    assert "gloo" not in capfd.readouterr().err


def test_a_mistake_keeps_its_message_and_status(capfd: pytest.CaptureFixture[str]) -> None:
    mistake = """
    import sys
    print("error[RUN201]: too many", file=sys.stderr)
    sys.exit(2)
    """
    assert launch(python(mistake), python(FOREVER), 2) == 2
    assert capfd.readouterr().err == "error[RUN201]: too many\n"
    assert launch(python(FOREVER), python(mistake), 2) == 2
    assert capfd.readouterr().err == "error[RUN201]: too many\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "is_stopped"),
    [
        (signal.SIGKILL, False),
        (signal.SIGTERM, False),
        (signal.SIGINT, False),
        (signal.SIGTERM, True),  # Ctrl-Z, then `kill %1`
    ],
)
def test_ranks_do_not_outlive_their_parent(
    tmp_path: Path, number: signal.Signals, is_stopped: bool
) -> None:
    rank = (
        AS_RANK
        + f"""
def run():
    import os, time
    place = {str(tmp_path)!r} + "/" + os.environ["MMTRT_RANK"]
    open(place + ".new", "w").write(str(os.getpid()))
    os.rename(place + ".new", place)
    while True:
        time.sleep(1)
as_rank(run)
"""
    )
    parent = f"""
    from mmtrt.native.rank_launch import launch
    from mmtrt.native.errors import report
    import sys
    command = {[sys.executable, "-c", rank]!r}
    raise SystemExit(report(lambda: launch(command, command, 2)))
    """
    places = tmp_path / "places"
    places.mkdir()
    process = subprocess.Popen(python(parent), env={**os.environ, "TMPDIR": str(places)})
    wait_until(lambda: all((tmp_path / name).exists() for name in "01"), process)
    pids = [int((tmp_path / name).read_text()) for name in "01"]
    if is_stopped:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG))
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=LIMIT_S) == (-number if number == signal.SIGKILL else 130)
    wait_for_end(*pids)
    # What cannot be removed by the dead is a file of a few bytes.
    assert number == signal.SIGKILL or not list(places.iterdir())
