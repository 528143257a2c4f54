"""Ranks as processes: who ends whom, and what is said. No torch is needed for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mmtrt.native.rank_launch import RankLost, launch

FOREVER = "import time\nwhile True: time.sleep(1)"
AS_RANK = "from mmtrt.native.rank_launch import as_rank\n"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def is_alive(pid: int) -> bool:
    try:
        # A zombie has ended; nobody here reaps what another process started.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


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
    assert len(started) == 2 and not any(is_alive(pid) for pid in started)


def test_a_follower_that_is_done_first_decides_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    first = """
    import sys, time
    time.sleep(0.6)
    print("the answer", file=sys.stderr)
    """
    assert launch(python(first), python("pass"), 3) == 0
    assert capfd.readouterr().err == "the answer\n"


def test_a_killed_rank_is_named_with_its_last_lines() -> None:
    follower = f"""
    import os, signal, sys
    print("reading weights", file=sys.stderr, flush=True)
    if os.environ["MMTRT_RANK"] == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    {textwrap.indent(FOREVER, "    ").strip()}
    """
    started = time.monotonic()
    with pytest.raises(RankLost) as lost:
        launch(python(FOREVER), python(follower), 3)
    assert time.monotonic() - started < 10
    assert lost.value.message.startswith("rank 2 of 3 ended: killed by SIGKILL")
    assert "reading weights" in str(lost.value.why)
    assert lost.value.exit_code == 1


def test_the_reason_is_told_and_not_its_consequence(capfd: pytest.CaptureFixture[str]) -> None:
    first = """
    import os, select, socket, sys, time
    time.sleep(0.6)
    sys.exit("RuntimeError: [gloo] Connection closed by peer")
    """
    follower = AS_RANK + "as_rank(lambda: 1 / 0)"
    with pytest.raises(RankLost) as lost:
        launch(python(first), python(follower), 2)
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
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ranks_do_not_outlive_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    rank = (
        AS_RANK
        + f"""
def run():
    import os, time
    open({str(tmp_path)!r} + "/" + os.environ["MMTRT_RANK"], "w").write(str(os.getpid()))
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
    deadline = time.monotonic() + 30
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "01"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    pids = [int((tmp_path / name).read_text()) for name in "01"]
    process.send_signal(number)
    assert process.wait(timeout=10) == (-number if number == signal.SIGKILL else 130)
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # What cannot be removed by the dead is a file of a few bytes.
    assert number == signal.SIGKILL or not list(places.iterdir())
