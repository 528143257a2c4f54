"""Read an options file of the PyTorch workflow and say what Gemma 3 refuses in it.

Source: TensorRT-LLM 1.2 multimodal README, section Gemma3; ``llmapi/llm_args.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtrt.fake.failure import ToolFailure

WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}


def read(path: str) -> dict[str, Any]:
    """Return the mapping of a YAML file of nested ``key: value`` lines, which is all they hold.

    Raises:
        ToolFailure: if there is no such file, or a line is something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:
        missing = f"[Errno 2] No such file or directory: '{path}'"
        raise ToolFailure("FileNotFoundError", missing) from None
    root: dict[str, Any] = {}
    open_: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split(" #")[0].rstrip()
        if not line.strip() or line.lstrip().startswith(("#", "---")):
            continue
        indent = len(line) - len(line.lstrip())
        key, colon, value = line.strip().partition(":")
        if not colon or (value and not value.startswith(" ")):
            raise ToolFailure(
                "yaml.scanner.ScannerError", f"could not find expected ':' in {path}, line {number}"
            )
        while indent <= open_[-1][0]:
            open_.pop()
        inner: dict[str, Any] = {}
        open_[-1][1][key] = _scalar(value.strip()) if value.strip() else inner
        if not value.strip():
            open_.append((indent, inner))
    return root


def _scalar(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if text[0] in "\"'" and text[-1] == text[0] and len(text) > 1:
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def require_gemma3(options: Mapping[str, Any]) -> None:
    """Stop at options that Gemma 3's mask of picture tokens does not allow.

    Raises:
        ToolFailure: naming the option.
    """
    attention = options.get("attn_backend", "TRTLLM")
    if attention != "FLASHINFER":
        raise ToolFailure(
            "ValueError", f"Gemma3 multimodal needs attn_backend FLASHINFER, not {attention}"
        )
    if options.get("enable_chunked_prefill"):
        raise ToolFailure(
            "ValueError", "Gemma3 multimodal does not support chunked prefill: disable it"
        )
    cache = options.get("kv_cache_config")
    if not isinstance(cache, Mapping) or cache.get("enable_block_reuse", True):
        raise ToolFailure(
            "ValueError",
            "Gemma3 multimodal does not support KV cache reuse: set "
            "kv_cache_config.enable_block_reuse to false",
        )
