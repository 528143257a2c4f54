"""``trtllm-serve``: a server that answers health checks and chats until it is told to stop.

Source: TensorRT-LLM 1.2, ``commands/serve.py`` (click's messages) and ``openai_server.py``.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mmtrt.fake import files, log, model_dir, options, parser, settings
from mmtrt.fake.failure import ToolFailure, UsageFailure, require

START_UP_S = 0.1
USAGE = "Usage: trtllm-serve serve [OPTIONS] MODEL\nTry 'trtllm-serve serve --help' for help.\n\n"


def run(tool: str, words: Sequence[str]) -> int:
    """Serve a model until SIGTERM or SIGINT."""
    given, name = read(tool, words)
    values = {**parser.defaults(tool), **given}
    log.version()
    played = settings.read()
    require(played.gpus > 0, "RuntimeError", "No CUDA GPUs are available")
    model = model_dir.load(name)
    asked = options.read(str(values["--config"])) if values.get("--config") else {}
    backend = values.get("--backend")
    if model.family == "gemma3":
        require(
            backend == "pytorch",
            "ValueError",
            f"Gemma3 is only supported by the pytorch backend, not by {backend}",
        )
        if values.get("--enable_chunked_prefill"):
            asked["enable_chunked_prefill"] = True
        options.require_gemma3(asked)
    ranks = int(values.get("--tensor_parallel_size") or values.get("--tp_size") or 1)
    require(
        ranks <= played.gpus, "RuntimeError", f"tp_size {ranks} is larger than {played.gpus} GPUs"
    )
    _serve(str(values["--host"]), int(values["--port"]), name, model.digest())
    return 0


def read(tool: str, words: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Return flags and model of a command line.

    Raises:
        UsageFailure: with click's message.
    """
    known = parser.table(tool)
    spelled = {n: flag for flag, e in known.items() for n in (flag, *e.get("aliases", ()))}
    given: dict[str, Any] = {}
    loose: list[str] = []
    rest = list(words[1:] if words[:1] == ["serve"] else words)
    while rest:
        word = rest.pop(0)
        head, equals, value = word.partition("=")
        if not head.startswith("-"):
            loose.append(word)
            continue
        if head not in spelled or known[spelled[head]].get("positional"):
            raise UsageFailure(f"{USAGE}Error: No such option: {head}")
        entry = known[spelled[head]]
        if entry.get("action"):
            if equals:
                raise UsageFailure(f"{USAGE}Error: Option '{head}' does not take a value.")
            given[spelled[head]] = True
            continue
        if not equals and not rest:
            raise UsageFailure(f"{USAGE}Error: Option '{head}' requires an argument.")
        given[spelled[head]] = _value(head, value if equals else rest.pop(0), entry)
    parser.require_bounds(tool, given)
    if not loose:
        raise UsageFailure(f"{USAGE}Error: Missing argument 'MODEL'.")
    if len(loose) > 1:
        raise UsageFailure(f"{USAGE}Error: Got unexpected extra argument ({' '.join(loose[1:])})")
    return given, loose[0]


def _value(name: str, text: str, entry: dict[str, Any]) -> Any:
    choices = entry.get("choices")
    if choices and text not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise UsageFailure(
            f"{USAGE}Error: Invalid value for '{name}': {text!r} is not one of {wanted}."
        )
    kind = {"int": (int, "integer"), "float": (float, "float")}.get(entry.get("type", ""))
    if kind is None:
        return text
    try:
        return kind[0](text)
    except ValueError:
        raise UsageFailure(
            f"{USAGE}Error: Invalid value for '{name}': {text!r} is not a valid {kind[1]}."
        ) from None


class _Handler(BaseHTTPRequestHandler):
    model = ""
    digest = ""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, None)
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        try:
            asked = json.loads(self.rfile.read(length) or b"{}")
            messages = asked["messages"]
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"message": "messages: Field required", "type": "BadRequestError"})
            return
        if self.path != "/v1/chat/completions":
            self._answer(404, {"detail": "Not Found"})
            return
        text = settings.read().answer or f"fake answer {files.digest(self.digest, messages)[:8]}"
        counts = [len(json.dumps(messages).split()), len(text.split())]
        self._answer(
            200,
            {
                "id": f"chatcmpl-{files.digest(messages)[:32]}",
                "object": "chat.completion",
                "created": 0,
                "model": asked.get("model", self.model),
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": counts[0],
                    "completion_tokens": counts[1],
                    "total_tokens": sum(counts),
                },
            },
        )

    def _answer(self, status: int, document: dict[str, Any] | None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.plain(f"INFO:     {format % args}")


def _serve(host: str, port: int, model: str, digest: str) -> None:
    asked: list[int] = []  # an Event's lock could be held when the second signal comes
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: asked.append(signum))
    began = time.monotonic()
    while time.monotonic() - began < START_UP_S:
        if asked:
            return
        time.sleep(0.02)
    handler = type("Handler", (_Handler,), {"model": model, "digest": digest})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ToolFailure(
            "OSError",
            f"[Errno {error.errno}] error while attempting to bind on address ('{host}', {port})",
        ) from error
    server.daemon_threads = True
    worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    worker.start()
    log.plain("INFO:     Application startup complete.")
    log.plain(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
    while not asked:
        time.sleep(0.02)
    server.shutdown()
    worker.join()
    server.server_close()
    log.plain("INFO:     Application shutdown complete.")
