"""Flag sequences beyond the attention window of a local model's language model.

## What it checks
``max_seq_len`` of native engines against ``sliding_window`` of ``model.path``, in force.

## Why it matters
The graph of a plain language model attends to its whole cache: up to the window that is the model,
beyond it another one. Gemma 3 has a graph of its own, with its windows.

## Example
    mmtrt check recipe=llava_next backend=native model.path=/models/window-4096 max_seq_len=5120

## Use instead
    mmtrt check recipe=llava_next backend=native model.path=/models/window-4096 max_seq_len=4096

## Source
transformers 5.23: ``sliding_window`` of ``MistralConfig``, ``Qwen2Config`` (with
``use_sliding_window``), ``Qwen2VLTextConfig`` and ``Phi4MultimodalConfig``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import language_models
from mmtrt.rules.sizes.rotations_change import limits_within

OWN_GRAPH = ("gemma3",)
"""Model types whose engines have windows."""
SWITCHED_OFF = ("qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text")
"""Language models whose window counts with ``use_sliding_window`` alone."""
WINDOW_BY_DEFAULT = {"mistral": 4096}


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error if the engine is to hold longer sequences."""
    seq = plan.recipe.sizing.limits.value("max_seq_len")
    if seq is None or not plan.is_native:
        return
    for text, model_type in language_models(plan):
        window = None if model_type in OWN_GRAPH else _window(text)
        if window is not None and seq > window:
            yield Finding(
                code="SIZ121",
                severity="error",
                message=f"max_seq_len is {seq}, the model's attention window is {window}",
                at=plan.recipe.where_limit("max_seq_len"),
                why="the graph attends to the whole cache, which equals the model up to its window",
                fix=limits_within(plan, window),
            )


def _window(text: Mapping[str, Any]) -> int | None:
    """Return the window that the layers have, ``None`` without one."""
    kind = str(text.get("model_type"))
    if not text.get("use_sliding_window", kind not in SWITCHED_OFF):
        return None
    window = text.get("sliding_window", WINDOW_BY_DEFAULT.get(kind))
    return window if isinstance(window, int) else None
