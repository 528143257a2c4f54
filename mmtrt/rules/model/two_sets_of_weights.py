"""Flag a local model with weights that nobody reads beside those that are read.

## What it checks
The safetensors files of ``model.path`` that the recipe takes: those that transformers loads (the
file that ``config.json`` names as ``transformers_weights``, else ``model.safetensors``, else the
shards of ``model.safetensors.index.json``), and others beside them.

## Why it matters
Where the sets differ, as after a fine-tuning that was saved over an old model, only one of them
answers. It is the same one here and in transformers.

## Example
    mmtrt check recipe=llava model.path=/models/llava-saved-twice

## Use instead
    mmtrt check recipe=llava variant=tiny

## Source
transformers 5.23, ``modeling_utils._get_resolved_checkpoint_files``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.artifacts.faults import quoted
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.local_model import local_config, local_downloads, wanted_files
from mmtrt.sizing.weights import INDEX, chosen_file, chosen_files


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning that says which set is taken, and how to leave the other out."""
    for stage, directory in local_downloads(plan):
        try:
            names = {name for name in wanted_files(stage, directory) if "/" not in name}
            read = set(chosen_files(directory, names))
        except OSError:
            continue  # the download stage says what is wrong with the directory
        chosen = chosen_file(names, local_config(directory))
        unread = sorted(name for name in names - read if name.endswith(".safetensors"))
        if chosen is None or not unread:
            continue
        left = [*unread, *([INDEX] if INDEX in names and chosen != INDEX else [])]
        exclude = ",".join([*stage.exclude, *left])
        some = ", ".join(quoted(name) for name in unread[:3]) + (", ..." if unread[3:] else "")
        yield Finding(
            code="MDL121",
            severity="warning",
            message=f"{quoted(str(directory))} holds two sets of weights: {chosen} is read, "
            f"{some} is not",
            at=plan.recipe.where(("model", "path")),
            why="transformers takes them in this order, and so do the stages here",
            fix=f"'++recipe.stages.{stage.id}.exclude=[{exclude}]'",
        )
