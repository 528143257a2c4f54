"""Flag a store whose path makes TensorRT-LLM's scripts take a model for another.

## What it checks
The place of the store against the words that the scripts look for in whole paths.

## Why it matters
The scripts tell families apart by words in the path of the model: ``vila`` anywhere makes
``quantize.py`` and the Llama conversion take VILA's way, be it the name of a user.

## Example
    mmtrt check recipe=llava backend=trtllm paths.store=/data/vila/store

## Use instead
    mmtrt check recipe=llava backend=trtllm paths.store=/data/models/store

## Source
TensorRT-LLM 1.2 ``quantize_by_modelopt.py`` (``vila``, ``mpt``), ``models/llama/convert.py``
(``llava``, ``vila``, ``exaone``), ``models/gpt/convert.py`` (``kosmos-2``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

WORDS = {
    "models/core/llama/convert_checkpoint.py": ("llava", "vila", "exaone"),
    "models/core/gpt/convert_checkpoint.py": ("kosmos-2",),
    "quantization/quantize.py": ("vila", "mpt", "llava-onevision-qwen2"),
}
"""Script -> words that change what it does, wherever in the model's path they are."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for a word of another family in the store's path."""
    if plan.choice.backend.name != "trtllm":
        return
    recipe = plan.recipe
    store = str(Path(recipe.settings.paths.store).absolute())
    scripts = {node.stage.script or "" for node in plan.active()}
    if any(node.kind == "quantize" for node in plan.active()):
        scripts.add("quantization/quantize.py")
    own = recipe.model_name
    words = dict.fromkeys(
        word
        for script in sorted(scripts)
        for word in WORDS.get(script, ())
        if word in store and word not in own
    )
    for word in words:
        yield Finding(
            code="MDL103",
            severity="warning",
            message=f"the store's path has the word {word!r} in it",
            at=recipe.where(("paths", "store")),
            why=f"TensorRT-LLM's scripts would take {own} for a model of that name",
            fix="paths.store=<a directory without that word>",
        )
