"""Flag a local model without the tokenizer or the image processor that ``run`` loads.

## What it checks
For native engines: a tokenizer's file among those that the recipe takes of ``model.path``, settings
of an image processor, and that the JSON files of both are JSON objects.

## Why it matters
They are opened by the last stage, after download, conversion and both builds.

## Example
    mmtrt check recipe=llava backend=native model.path=/models/llava-1.5-7b-hf    # weights alone

## Use instead
    mmtrt check recipe=llava variant=tiny

## Source
transformers 5.23, ``ImageProcessingMixin.get_image_processor_dict`` and the files of
``PreTrainedTokenizerFast``, from which fast tokenizers are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtrt.artifacts.faults import quoted
from mmtrt.artifacts.weights import is_lfs_pointer
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import local_downloads, wanted_files

TOKENIZERS = (
    "tokenizer.json",
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt"),
)
"""Files of which one holds the vocabulary."""
SETTINGS = ("preprocessor_config.json", "processor_config.json")
READ = ("tokenizer.json", "tokenizer_config.json", *SETTINGS)


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for each file that is missing or no JSON."""
    if not plan.is_native or not any(n.kind == "run" for n in plan.active()):
        return
    for stage, directory in local_downloads(plan):
        try:
            files = wanted_files(stage, directory)
        except OSError:
            continue  # the download stage says what is wrong with the directory
        for message, why in _damage(files):
            yield Finding(
                code="MDL130",
                severity="error",
                message=f"{quoted(str(directory))} {message}",
                at=plan.recipe.where(("model", "path")),
                why=why,
                fix="copy the processor's files of the model that it was trained from there",
            )


def _damage(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield message and reason for all that is wrong."""
    read: dict[str, Any] = {}
    for name in READ:
        path = files.get(name)
        if path is None or is_lfs_pointer(path):
            continue  # MDL104 speaks of pointers
        try:
            read[name] = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            yield f"has a {name} that cannot be read", " ".join(str(error).split())[:120]
            continue
        if not isinstance(read[name], dict):
            yield f"has a {name} that is no JSON object", "the processor reads keys of it"
    if not any(name in files for name in TOKENIZERS):
        yield "has no tokenizer", f"there is none of {', '.join(TOKENIZERS)}"
    nested = read.get(SETTINGS[1])
    is_nested = isinstance(nested, dict) and "image_processor" in nested
    if SETTINGS[0] not in files and not is_nested:
        why = f"there is no {SETTINGS[0]}, and no image_processor in {SETTINGS[1]}"
        yield "has no image processor", why
