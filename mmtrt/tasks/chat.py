"""Ask a server of this machine that speaks OpenAI's protocol, as ``trtllm-serve`` does.

It knows HTTP and the protocol; the server's process is the business of ``server``.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mmtrt.tasks.messages import TaskError, quoted
from mmtrt.tasks.server import Server

REQUEST_TIMEOUT_S = 900.0
"""Chosen: the first request may compile kernels."""

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy stands between us and a server that we started."""


@dataclass(frozen=True)
class Question:
    """What one request asks."""

    prompt: str
    image: str | None
    """Path or URL as given."""
    content: Any
    """Of the message, with local images in it."""


@dataclass(frozen=True)
class Answer:
    """What the server answered to one request."""

    text: str
    finish_reason: str | None
    milliseconds: float


def question(prompt: str, image: str | None) -> Question:
    """Put a prompt and an image into the form of a message; a local file is read now.

    Raises:
        OSError: if there is no such file.
    """
    if image is None:
        return Question(prompt, None, prompt)
    url = image
    if not re.match(r"(https?|data):", image):
        kind = mimetypes.guess_type(image)[0] or "application/octet-stream"
        url = f"data:{kind};base64,{base64.b64encode(Path(image).read_bytes()).decode()}"
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    return Question(prompt, image, parts)


def wait_until_ready(server: Server, url: str, timeout_s: float) -> None:
    """Return as soon as ``url`` answers 200.

    Raises:
        TaskError: NET122, if the server ends first; NET123, if it takes too long.
    """
    deadline = time.monotonic() + timeout_s
    pause_s, last = 0.05, "nothing listens there"
    while (left_s := deadline - time.monotonic()) > 0:
        if server.has_ended():
            raise server.ended("before it was ready")
        try:
            with _OPENER.open(url, timeout=max(0.1, min(5.0, left_s))) as answer:
                if answer.status == 200:
                    return
                last = f"HTTP {answer.status}"
        except urllib.error.HTTPError as error:
            last = f"HTTP {error.code}"
            error.close()
        except (OSError, HTTPException) as error:
            last = str(getattr(error, "reason", error)) or type(error).__name__
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s = min(1.0, pause_s * 1.5)
    raise TaskError(
        f"the server was not ready within {timeout_s:g} s",
        code="NET123",
        why=f"{quoted(url)}: {quoted(last)}",
        fix="see whether it still loads, and raise --ready-timeout-s; or correct --url and "
        "--ready-path",
    )


def list_models(url: str) -> list[str]:
    """Return the names of the models that the server offers; empty if it does not say."""
    try:
        with _OPENER.open(f"{url}/v1/models", timeout=30) as answer:
            return [str(model["id"]) for model in json.load(answer)["data"]]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return []


def ask(server: Server, url: str, model: str, wanted: Question, max_tokens: int | None) -> Answer:
    """Send one request, with temperature 0, and wait for the whole answer.

    Raises:
        TaskError: NET122, if the server dies meanwhile; NET124, if it refuses; NET125, if the
            answer cannot be understood.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": wanted.content}],
        "temperature": 0,
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    start = time.monotonic()
    try:
        with _OPENER.open(request, timeout=REQUEST_TIMEOUT_S) as response:
            said = response.read()
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(f"HTTP {error.code}", error.read(2000)) from error
    except (OSError, HTTPException) as error:
        if server.ends_within(1.0):  # a dying server closes its connections first
            raise server.ended("while it was asked") from error
        raise _refused(str(error) or type(error).__name__, b"") from error
    milliseconds = (time.monotonic() - start) * 1000
    try:
        choice = json.loads(said)["choices"][0]
        return Answer(choice["message"]["content"] or "", choice.get("finish_reason"), milliseconds)
    except (ValueError, LookupError, TypeError) as error:
        raise TaskError(
            "the server's answer to a chat request cannot be understood",
            code="NET125",
            fix="see that it speaks OpenAI's protocol at /v1/chat/completions",
            blocks=_block(said),
        ) from error


def require_model(models: Sequence[str]) -> str:
    """Return the first model that the server offers.

    Raises:
        TaskError: NET125.
    """
    if not models:
        raise TaskError(
            "the server does not say which model it has",
            code="NET125",
            why="GET /v1/models has no usable answer",
            fix="name it with --model-name",
        )
    return models[0]


def _refused(why: str, said: bytes) -> TaskError:
    return TaskError(
        "the server did not answer a chat request",
        code="NET124",
        why=quoted(why),
        fix="read what it says; --model-name must be a model that it has, and the image of a "
        "kind that the model takes",
        blocks=_block(said),
    )


def _block(said: bytes) -> list[tuple[str, str]]:
    lines = said.decode(errors="replace")[:2000].splitlines()
    return [("server", "\n".join(map(quoted, lines)))] if lines else []
