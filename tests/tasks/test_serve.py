from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmtrt.tasks import server
from mmtrt.tasks.serve import Signals
from mmtrt.tasks.server import listeners
from tests.ports import reserved_port
from tests.waiting import LIMIT_S, lives, wait_until

from .conftest import HOSTILE, Ended, Stage, call

SERVER = """
import http.server, json, os, signal, subprocess, sys, time
from pathlib import Path

port, place, modes = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]

def tell(name, text):
    # Readers wait for the file and then may kill this process: it is there whole or not at all.
    (place / f"{name}.new").write_text(text)
    (place / f"{name}.new").rename(place / name)

print("server starts")
if "deaf" in modes:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "worker" in modes:
    hears = "" if "deaf" not in modes else "trap '' TERM; "
    worker = subprocess.Popen(["/bin/sh", "-c", hears + "while :; do sleep 0.1; done"])
    tell("worker", str(worker.pid))
tell("server", str(os.getpid()))
if "dies" in modes:
    sys.exit("no such model")
if "killed" in modes:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0.3 if "slow" in modes else 0)
began = time.monotonic()

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models" and "unnamed" not in modes:
            self.reply(200, {"data": [{"id": "a model"}, {"id": "b"}]})
        elif self.path in ("/health", "/ready"):
            loads = "never" in modes or "slow" in modes and time.monotonic() < began + 0.3
            self.reply(503 if loads else 200, {})
            if "leaves" in modes:
                os._exit(0)
            if "breaks" in modes:
                os._exit(9)
        else:
            self.reply(404, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with (place / "asked").open("a") as file:
            file.write(json.dumps([self.path, body]) + "\\n")
        if "dies-when-asked" in modes:
            os._exit(4)
        if "refuses" in modes:
            return self.reply(400, {"error": "too many images"})
        if "babbles" in modes:
            return self.reply(200, {"choices": []})
        if "hangs" in modes:
            time.sleep(60)
        message = {"role": "assistant", "content": f"{body['model']} sees it"}
        self.reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class World:
    """A directory, a free port, and the flags of a stage that uses both."""

    def __init__(self, root: Path, stage: Stage, port: int) -> None:
        self.root, self.stage = root, stage
        self.out = root / "out put"
        self.script = root / "server.py"
        self.script.write_text(SERVER)
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self, *modes: str) -> list[str]:
        return [
            sys.executable,
            "-S",
            "-u",
            str(self.script),
            str(self.port),
            str(self.root),
            *modes,
        ]

    def flags(self, *flags: object, modes: tuple[str, ...] = ()) -> tuple[object, ...]:
        first = ("--output-dir", self.out, "--url", self.url, "--ready-timeout-s=100")
        return ("serve", *first, *flags, "--", *self.command(*modes))

    def run(self, *flags: object, modes: tuple[str, ...] = ()) -> Ended:
        return self.stage.run(*self.flags(*flags, modes=modes))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def started(
        self, *flags: object, modes: tuple[str, ...] = ()
    ) -> Iterator[subprocess.Popen[str]]:
        with self.stage.start(*self.flags(*flags, modes=modes)) as process:  # type: ignore[arg-type]
            try:
                yield process
            finally:
                process.kill()

    def read(self, name: str) -> Any:
        return json.loads((self.out / name).read_text())

    def asked(self) -> list[Any]:
        return [json.loads(line) for line in (self.root / "asked").read_text().splitlines()]

    def pids(self) -> list[int]:
        files = (self.root / "server", self.root / "worker")
        return [int(file.read_text()) for file in files if file.exists()]

    def is_over(self) -> bool:
        return not any(map(lives, self.pids())) and next(listeners(self.port), None) is None


def wait_until_said(process: subprocess.Popen[str], note: str) -> None:
    """Read stderr up to the line with a note; the process has not come to anything later yet."""
    assert process.stderr is not None
    said = iter(process.stderr.readline, "")
    assert any(note in line for line in said), "it ended without saying so"


@pytest.fixture
def world(tmp_path: Path, stage: Stage) -> Iterator[World]:
    with reserved_port() as port:
        yield World(tmp_path, stage, port)


def test_prompts_are_asked_once_the_server_is_ready(world: World) -> None:
    image = world.root / "a b.png"
    image.write_bytes(b"\x89PNG")
    texts = ("--input-text=What?", "--input-text", HOSTILE[0])
    more = ("--image-path", image, "--max-tokens", "7")
    ended = world.run(*texts, *more, modes=("slow", "worker")).done()
    assert world.is_over()
    assert "server starts" in ended.stdout
    assert f"{image}: a model sees it\n" in ended.stdout
    state = world.read("server.json")
    assert state == {
        "schema": 1,
        "url": world.url,
        "ready_s": state["ready_s"],
        "models": ["a model", "b"],
    }
    assert state["ready_s"] >= 0.5
    result = world.read("result.json")
    assert result["schema"] == 1
    assert result["timings"]["ready_s"] == state["ready_s"]
    assert result["timings"]["request_ms"] > 0
    first, second = result["requests"]
    assert first.pop("request_ms") > 0
    assert first == {
        "prompt": "What?",
        "images": [str(image)],
        "text": "a model sees it",
        "token_ids": [],
        "finish_reason": "stop",
    }
    assert second["prompt"] == HOSTILE[0]
    path, body = world.asked()[0]
    assert path == "/v1/chat/completions"
    url = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
    assert body == {
        "model": "a model",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
        "temperature": 0,
        "max_tokens": 7,
    }
    assert sorted(path.name for path in world.out.iterdir()) == ["result.json", "server.json"]


def test_text_alone_named_model_and_images_of_the_web(world: World) -> None:
    link = "https://host/a.png?b=c"
    flags = ("--model-name=mine", "--ready-path=ready", "--image-path", link, "--input-text=b")
    world.run(*flags, modes=("unnamed",)).done()
    assert world.read("server.json")["models"] == []
    content = world.asked()[0][1]["messages"][0]["content"]
    assert content[1] == {"type": "image_url", "image_url": {"url": link}}
    (world.out / "result.json").unlink()
    (world.out / "server.json").unlink()
    ended = world.run("--input-text=b", modes=("unnamed",)).failed("NET125")
    assert "fix: name it with --model-name" in ended.stderr
    assert len(world.asked()) == 1


def test_without_prompts_only_readiness_is_shown(world: World) -> None:
    world.run().done()
    assert [path.name for path in world.out.iterdir()] == ["server.json"]
    assert world.is_over()


@pytest.mark.parametrize(
    ("mode", "shown"), [("dies", "exit status 1"), ("killed", "killed by SIGKILL")]
)
def test_server_that_ends_early_is_not_waited_for(world: World, mode: str, shown: str) -> None:
    ended = world.run("--ready-timeout-s=600", modes=(mode, "worker")).failed("NET122")
    assert f"the server ended before it was ready: {shown}" in ended.stderr
    assert str(world.script) in ended.stderr
    if mode == "dies":
        assert "no such model" in ended.stderr
    assert world.is_over()


def test_server_that_is_never_ready(world: World) -> None:
    for seconds in ("0.7", "7", "70"):  # on a busy machine nothing may listen there by then
        ended = world.run(f"--ready-timeout-s={seconds}", modes=("never",)).failed("NET123")
        assert f"was not ready within {seconds} s" in ended.stderr
        assert world.is_over()
        if "HTTP 503" in ended.stderr:
            break
    assert f"why: {world.url}/health: HTTP 503" in ended.stderr


@pytest.mark.parametrize(
    ("mode", "code", "shown"),
    [
        ("dies-when-asked", "NET122", "the server ended while it was asked: exit status 4"),
        ("refuses", "NET124", '| {"error": "too many images"}'),
        ("babbles", "NET125", '| {"choices": []}'),
    ],
)
def test_requests_that_fail(world: World, mode: str, code: str, shown: str) -> None:
    ended = world.run("--input-text=x", modes=(mode,)).failed(code)
    assert shown in ended.stderr
    assert not (world.out / "result.json").exists()
    assert world.is_over()


def test_port_that_is_taken(world: World) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.port))
        other.listen()
        ended = world.run().failed("NET121")
    assert f"port {world.port} of 127.0.0.1 is taken" in ended.stderr
    if Path("/proc/net/tcp").exists():
        assert f"why: pid {os.getpid()} (`" in ended.stderr
    assert not world.pids()
    assert not world.out.exists()


def test_server_that_ignores_sigterm_is_killed(world: World) -> None:
    start = time.monotonic()
    world.run("--stop-timeout-s=0.5", modes=("deaf", "worker")).done()
    assert time.monotonic() - start > 0.5
    assert len(world.pids()) == 2
    assert world.is_over()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_hold_lasts_until_a_signal(world: World, number: signal.Signals) -> None:
    with world.started("--hold", "--input-text=x", modes=("worker",)) as process:
        wait_until_said(process, "the server stays")
        assert (world.out / "result.json").exists()
        assert all(map(lives, world.pids()))
        process.send_signal(number)
        _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    assert "note: ending the server" in stderr
    assert world.is_over()


@pytest.mark.parametrize(("mode", "status"), [("leaves", 0), ("breaks", 1)])
def test_hold_ends_with_the_server(world: World, mode: str, status: int) -> None:
    ended = world.run("--hold", modes=(mode, "worker"))
    assert ended.status == status, ended.stderr
    if status:
        ended.failed("NET122")
    assert world.is_over()


@pytest.mark.parametrize("modes", [("never",), ("hangs",)])
def test_signal_before_the_end_is_an_interruption(world: World, modes: tuple[str, ...]) -> None:
    with world.started("--input-text=x", modes=(*modes, "worker")) as process:
        wait_until((world.root / ("asked" if "hangs" in modes else "server")).exists)
        process.terminate()
        _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert world.is_over()


def test_a_signal_while_the_server_is_started_waits_until_it_can_be_ended() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signals.allow()
        signal.raise_signal(signal.SIGTERM)
        assert signals.late == 1
    with Signals() as signals:
        signals.allow()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signals.late == 0


def test_second_signal_does_not_wait(world: World) -> None:
    with world.started("--hold", "--stop-timeout-s=600", modes=("deaf", "worker")) as process:
        wait_until_said(process, "the server stays")
        process.send_signal(signal.SIGINT)
        wait_until_said(process, "ending the server")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert world.is_over()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_nothing_is_left_when_the_stage_is_killed(world: World) -> None:
    with world.started("--hold", modes=("deaf", "worker")) as process:
        wait_until((world.out / "server.json").exists)
        process.kill()
        wait_until(world.is_over)
        process.communicate(timeout=LIMIT_S)
    assert len(world.pids()) == 2


def test_command_that_is_missing(world: World) -> None:
    flags = ("--output-dir", world.out, "--url", world.url, "--", "no-such-server", "--", "-x")
    ended = world.stage.run("serve", *flags).failed("NET126")
    assert "No such file or directory" in ended.stderr


def test_missing_image_is_found_before_the_server_starts(world: World) -> None:
    call(*world.flags("--input-text=x", "--image-path=/gone.png")).failed("ART106")
    assert not world.pids()


def test_output_must_be_fresh(world: World) -> None:
    world.out.mkdir()
    (world.out / "server.json").write_text("mine")
    call(*world.flags()).failed("ART101")
    assert not world.pids()


@pytest.mark.parametrize(
    "flags",
    [
        ("--url=http://h:1",),
        ("--url=http://h:1", "--"),
        ("--url=h:1", "--", "x"),
        ("--url=https://h:1", "--", "x"),
        ("--url=http://h:99999", "--", "x"),
        ("--url=http://h:1", "--max-tokens=0", "--", "x"),
        ("--url=http://h:1", "--image-path=a", "--", "x"),
        ("--url=http://h:1", *["--input-text=a"] * 2, *["--image-path=a"] * 3, "--", "x"),
    ],
)
def test_malformed_flags_exit_2(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert call("serve", "--output-dir", tmp_path / "out", *flags).status == 2
    assert not (tmp_path / "out").exists()


def test_who_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        server.require_free("127.0.0.1", port)  # bound, but nobody answers
        assert not list(listeners(port))
