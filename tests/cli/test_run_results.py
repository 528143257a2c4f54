"""What ``mmtrt run`` tells of evaluations and servers: scores, the gate's exit code, answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

PICTURE = "asset://pictures/red_circle_left_on_white.png"


def mmtrt(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmtrt", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_missed_gate_is_exit_code_3_also_from_the_store(tmp_path: Path) -> None:
    words = ("recipe=llava", "backend=fake", "eval.task=lmms-lab/ai2d")
    first = mmtrt(tmp_path, *words, "eval.accuracy_threshold=99.9")
    assert first.returncode == 3, first.stderr
    assert "threshold 99.9 % missed (20 questions)" in first.stdout
    assert "error[EVL101]: lmms-lab/ai2d: accuracy" in first.stderr
    again = mmtrt(tmp_path, *words, "eval.accuracy_threshold=99.9", "--json")
    document = json.loads(again.stdout)
    assert again.returncode == 3
    assert {row["status"] for row in document["stages"]} == {"hit"}
    assert document["scores"][0]["passed"] is False
    report = mmtrt(tmp_path, "report").stdout
    assert "## Accuracy" in report and "threshold 99.9 % missed" in report
    low = mmtrt(tmp_path, *words, "eval.accuracy_threshold=1")
    assert low.returncode == 0 and "threshold 1 % met" in low.stdout


def test_server_answers_and_is_stopped(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("recipe=gemma3", "variant=4b", "backend=fake", "until=serve", f"serve.port={port}")
    words += (f"run.image={PICTURE}", 'run.prompt="What is it?"', "--json")
    first = mmtrt(tmp_path, *words)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert document["result"]["requests"][0]["prompt"] == "What is it?"
    assert document["result"]["requests"][0]["text"]
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", port)) != 0
    again = {
        row["id"]: row["status"] for row in json.loads(mmtrt(tmp_path, *words).stdout)["stages"]
    }
    assert again == {"download": "hit", "options": "hit", "serve": "done"}


def test_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ("recipe=gemma3", "variant=4b", "backend=fake", "until=serve")
        ended = mmtrt(tmp_path, *words, f"serve.port={port}")
    assert ended.returncode == 1
    assert str(port) in ended.stderr and "another port" in ended.stderr
