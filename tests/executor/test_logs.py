from __future__ import annotations

import itertools
import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtrt.executor.logs import HOLD_BYTES, Filter
from mmtrt.executor.runner import Launch, LocalRunner
from mmtrt.redaction import LONGEST, Redactor
from tests.calls import calls_of
from tests.waiting import lives

SECRET = "planted-secret-value"
LINES = (
    f"before {SECRET} after\n"
    "progress 10%\rprogress 20% https://u:pw@host/x?token=abc\r\n"
    f"{'x' * 50} HF_TOKEN=hf_{'A' * 34}\n"
    f"the end without line end {SECRET}"
).encode()


def filtered(chunks, redactor=None) -> bytes:
    stream = Filter(redactor or Redactor([SECRET]))
    return b"".join([*map(stream.feed, chunks), stream.close()])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, len(LINES)), max_size=12))
def test_pieces_come_out_as_the_whole_does(cuts):
    cuts = [0, *sorted(cuts), len(LINES)]
    pieces = [LINES[a:b] for a, b in itertools.pairwise(cuts)]
    assert filtered(pieces) == Redactor([SECRET]).data(LINES)
    assert SECRET.encode() not in filtered(pieces)


def test_single_bytes_leak_nothing():
    out = filtered([LINES[i : i + 1] for i in range(len(LINES))])
    for secret in (SECRET, "pw@", "hf_AAA", "token=abc"):
        assert secret.encode() not in out


@pytest.mark.parametrize("offset", [0, 1, 7, 19, 20, LONGEST - 5, LONGEST, LONGEST + 3])
def test_a_line_without_end_is_written_in_parts_and_leaks_nothing(offset):
    """The token lies where the line is cut, in every way it can."""
    token = b"hf_" + b"A" * 200
    before = HOLD_BYTES - LONGEST - len(token) + offset
    line = b" " * before + token + b" " * HOLD_BYTES + SECRET.encode() + b" " * 9000
    stream = Filter(Redactor([SECRET]))
    parts = [stream.feed(line[i : i + 1000]) for i in range(0, len(line), 1000)]
    assert any(parts), "nothing is written before the line ends"
    out = b"".join([*parts, stream.close()])
    assert out == line.replace(b"A" * 200, b"***").replace(SECRET.encode(), b"***")


def run(tmp_path, script: str, **env: str):
    """Run a Python script as a stage does; return its logs and how it ended."""
    out, err = tmp_path / "out", tmp_path / "err"
    launch = Launch([sys.executable, "-c", script], {**os.environ, **env}, tmp_path, out, err)
    process = LocalRunner().start(launch)
    ended = process.wait()
    return out.read_bytes(), err.read_bytes(), ended


def test_a_process_that_prints_its_token_leaves_none_in_its_logs(tmp_path):
    script = (
        "import os, sys, time\n"
        "token = os.environ['HF_TOKEN']\n"
        "for at in (5, len(token)):\n"
        "    os.write(1, token[at - 5 if at == 5 else 5 : at].encode()); time.sleep(0.05)\n"
        "print(' done'); print('bad', token, file=sys.stderr)"
    )
    out, err, ended = run(tmp_path, script, HF_TOKEN=SECRET)
    assert (out, err, ended.exit_code) == (b"*** done\n", b"bad ***\n", 0)


def test_a_netrc_of_the_user_is_known(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine hub.example\n  login bob\n  password planted-netrc-password\n")
    monkeypatch.setenv("NETRC", str(netrc))
    out, _, _ = run(tmp_path, "print('planted-netrc-password')")
    assert out == b"***\n"


def test_everything_is_written_before_the_end_is_told(tmp_path):
    script = "print('x' * 3_000_000, flush=True)\nimport os; os._exit(3)"
    out, _, ended = run(tmp_path, script)
    assert (len(out), ended.exit_code) == (3_000_001, 3)
    out, _, _ = run(tmp_path, "import sys; sys.stdout.write('y\\n' * 1_000_000)")
    assert out.endswith(b"y\ny\n")


def test_a_daemon_that_keeps_the_log_open_holds_nothing_up(tmp_path):
    script = (
        "import subprocess\n"
        "daemon = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(daemon.pid)\n"
    )
    out, _, _ = run(tmp_path, script)  # would last as long as the daemon
    daemon = int(out)
    assert lives(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_work_grows_with_chunks_and_not_with_lines():
    """Speed is measured in benchmarks/test_redaction.py."""
    line = b"[11/23/2026-16:00:00] [TRT-LLM] [I] tactic 0x12 took 1.223 ms for conv_7\n"
    stream = Filter(Redactor([SECRET, "another-planted-one"]))
    spent = [calls_of(lambda: stream.feed(line * count)).total() for count in (1, 1000)]  # noqa: B023
    assert spent[1] <= spent[0] + 5
