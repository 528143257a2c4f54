"""Stage ``serve``: start a server, wait until it is ready, ask it, and end it again."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from mmtrt.tasks import chat, links
from mmtrt.tasks.messages import note, quoted, run_stage, say
from mmtrt.tasks.server import Server, require_free

EPILOG = """\
DIR/server.json tells the address, the seconds until ready and the models; with --input-text,
DIR/result.json tells the answers. N texts and N images pair up; a single one is repeated. The
server's output goes to ours. SIGTERM and SIGINT end it, and us: first SIGTERM to all its processes,
then SIGKILL after --stop-timeout-s, or at the next signal.

exit status:
  0   done; with --hold also when a signal ended it
  1   the port is taken, the server ended or was not ready in time, or a request failed
  2   the command line cannot be understood
  130 interrupted before it was done

examples:
  python -m mmtrt.tasks.serve --output-dir out/run --url http://127.0.0.1:8000 \\
      --input-text 'Describe the image.' --image-path cat.png --max-tokens 64 \\
      -- trtllm-serve out/model --backend pytorch --port 8000
  python -m mmtrt.tasks.serve --output-dir out/run --url http://127.0.0.1:8000 --hold \\
      -- trtllm-serve out/model --port 8000
"""


@dataclass(frozen=True)
class Address:
    """Where the server will listen."""

    url: str
    """Without a slash at the end."""
    host: str
    port: int


@dataclass
class Signals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt, and counts the later."""

    is_stopping: bool = True
    """Signals are only counted: until :meth:`allow`, and from the first of them on."""
    late: int = 0
    _before: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Signals:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            is_nohup = number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
            if not is_nohup:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def allow(self) -> None:
        """Let signals interrupt from now on.

        Raises:
            KeyboardInterrupt: if one has come before.
        """
        self.is_stopping = False
        if self.late:
            self.late, self.is_stopping = 0, True
            raise KeyboardInterrupt

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_stopping:
            self.late += 1
            return
        self.is_stopping = True
        raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    # By hand: argparse would also take a `--` that belongs to the command.
    place = words.index("--") if "--" in words else len(words)
    parser = _parser()
    args = parser.parse_args(words[:place])
    args.command = words[place + 1 :]
    if not args.command:
        parser.error("the command of the server is missing: ... -- COMMAND")
    counts = {len(args.input_text), len(args.image_path)} - {0, 1}
    if len(counts) > 1 or (args.image_path and not args.input_text):
        parser.error("as many --image-path as --input-text are needed, or a single one of either")
    return run_stage(lambda: serve(args))


def parse_address(text: str) -> Address:
    """Read ``http://HOST:PORT``."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if parts.scheme != "http" or not host or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} does not read like http://127.0.0.1:8000")
    return Address(text.rstrip("/"), host, port or 80)


def parse_positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def serve(args: argparse.Namespace) -> None:
    """Start the server, use it, and end it whatever happens.

    Raises:
        TaskError: NET121 to NET126, ART101 or ART106.
        KeyboardInterrupt: if a signal came before the answers were there.
    """
    questions = _questions(args.input_text, args.image_path)  # an image that is missing: now
    for name in ("server.json", "result.json"):
        if (args.output_dir / name).exists():
            raise links.occupied(args.output_dir / name)
    require_free(args.url.host, args.url.port)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    with Signals() as signals:
        server = Server(args.command)  # not to be interrupted before it is ours to end
        try:
            signals.allow()
            _use(server, args, questions)
            if args.hold:
                _hold(server)
        finally:
            signals.is_stopping = True
            server.stop(args.stop_timeout_s, lambda: signals.late > 0)


def _questions(texts: Sequence[str], images: Sequence[str]) -> list[chat.Question]:
    count = max(len(texts), len(images))
    prompts = [*texts] * (count if len(texts) == 1 else 1)
    paths: list[str | None] = [*images] * (count if len(images) == 1 else 1) or [None] * count
    return [chat.question(prompt, path) for prompt, path in zip(prompts, paths)]


def _use(server: Server, args: argparse.Namespace, questions: Sequence[chat.Question]) -> None:
    start, url = time.monotonic(), args.url.url
    chat.wait_until_ready(server, f"{url}/{args.ready_path.lstrip('/')}", args.ready_timeout_s)
    ready_s = round(time.monotonic() - start, 3)
    models = chat.list_models(url)
    say(f"ready after {ready_s:.1f} s at {quoted(url)}")
    state = {"schema": 1, "url": url, "ready_s": ready_s, "models": models}
    _write_json(args.output_dir / "server.json", state)
    if not questions:
        return
    model = args.model_name or chat.require_model(models)
    answers = []
    for wanted in questions:
        answers.append(chat.ask(server, url, model, wanted, args.max_tokens))
        say(f"{quoted(wanted.image or 'no image')}: {quoted(answers[-1].text)}")
    requests = [
        {
            "prompt": wanted.prompt,
            "images": [wanted.image] if wanted.image else [],
            "text": answer.text,
            "token_ids": [],
            "finish_reason": answer.finish_reason,
            "request_ms": round(answer.milliseconds, 3),
        }
        for wanted, answer in zip(questions, answers)
    ]
    mean_ms = round(fmean(answer.milliseconds for answer in answers), 3)
    timings = {"ready_s": ready_s, "request_ms": mean_ms}
    result = {"schema": 1, "requests": requests, "timings": timings}
    _write_json(args.output_dir / "result.json", result)


def _hold(server: Server) -> None:
    """Return when a signal comes or the server has ended.

    Raises:
        TaskError: NET122, if it did not end well.
    """
    try:
        note("the server stays until SIGINT or SIGTERM")
        while not server.has_ended():
            time.sleep(0.1)
    except KeyboardInterrupt:
        note("ending the server")
        return
    server.require_success()


def _write_json(path: Path, document: dict[str, Any]) -> None:
    """Write it whole or not at all: others may wait for it."""
    half = path.with_name(f".{path.name}")
    half.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmtrt.tasks.serve",
        usage="%(prog)s --output-dir DIR --url URL [options] -- COMMAND ...",
        description="Start a server, ask it over OpenAI's protocol, and end it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output-dir", required=True, type=Path, metavar="DIR", help="for the answers; fresh")
    add("--url", required=True, type=parse_address, help="http://HOST:PORT where it will listen")
    add("--ready-path", default="/health", metavar="PATH", help="answers 200 once ready (/health)")
    add("--ready-timeout-s", type=float, default=600.0, metavar="S", help="at most (600)")
    add("--stop-timeout-s", type=float, default=30.0, metavar="S", help="SIGKILL after that (30)")
    add("--model-name", metavar="NAME", help="model to ask; default: the first that it lists")
    add("--input-text", action="append", default=[], metavar="TEXT", help="repeat for more")
    add("--image-path", action="append", default=[], metavar="FILE", help="or URL; repeat")
    add("--max-tokens", type=parse_positive, metavar="N", help="most tokens of an answer")
    add("--hold", action="store_true", help="go on until a signal, or until the server ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
