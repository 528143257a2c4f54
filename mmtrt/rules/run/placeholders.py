"""Flag placeholders of pictures, videos or sounds in a prompt that do not stand for one.

## What it checks
``run.prompt`` for native engines: a prompt that holds the model's placeholder has as many as its
request has pictures, or videos, or sounds; no prompt holds a token that stands for something else
than is shown. Placeholders of other models are plain text to this one, and warned of.

## Why it matters
The stage refuses such a request after all builds; the placeholder of another model is answered as
if somebody had asked about ``<image>``.

## Example
    mmtrt check recipe=llava variant=tiny 'run.prompt="<image> <image> Which is red?"'

## Use instead
    mmtrt check recipe=llava variant=tiny 'run.prompt="Which is red?"'

## Source
Processors of transformers 5.23: each placeholder is repeated for the rows of one picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmtrt.config.overrides import quoted, shell
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import asked
from mmtrt.stages import Run

FOREIGN = re.compile(
    r"<\|?/?\w*(?:image|img|video|audio|vision)\w*\|?>|\[/?(?:IMG|IMAGE|VIDEO|AUDIO)\w*\]",
    re.IGNORECASE,
)
"""How models call what stands for a picture: ``<image>``, ``<|image_1|>``, ``[IMG]``, ..."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error for a placeholder that stands for nothing, a warning for one of others."""
    run = asked(plan)
    if run is None or not plan.is_native:
        return
    native = plan.recipe.file.native
    shown = _shown(run)
    own = {str(medium): mark for medium, mark in native.placeholders.items()}
    for prompt in dict.fromkeys(run.prompts):
        known = [*own.values(), *native.frames, *native.rows]
        is_written = any(own.get(medium, "\0") in prompt for medium in shown)
        wrong = ""
        for medium, mark in own.items():
            count = prompt.count(mark)
            wanted = shown.get(medium, 0)
            if count != wanted and (is_written or count):
                wrong = f"{count} times {mark}, and its request shows {wanted} {medium}s"
        for token in (*native.rows, *(() if is_written else native.frames)):
            if token in prompt:
                wrong = f"{token}, which stands for what is shown and is put in by the model"
        if wrong:
            yield _finding(plan, run, known, "error", f"a prompt holds {wrong}")
            return
        foreign = [mark for mark in FOREIGN.findall(prompt) if mark not in known]
        if foreign:
            usual = own.get("image")
            yield _finding(
                plan,
                run,
                known,
                "warning",
                f"a prompt holds {foreign[0]}, which is plain text to this model"
                + (f"; its placeholder is {usual}" if usual else ""),
            )
            return


def _shown(run: Run) -> dict[str, int]:
    """Return what each request shows: how many of which kind."""
    if run.video is not None:
        return {"video": 1}
    count = len(run.images)
    each = count // run.batch_size if count and count % run.batch_size == 0 else min(count, 1)
    return {"image": each, **({"audio": 1} if run.audio is not None else {})}


def _finding(plan: Plan, run: Run, known: list[str], severity: str, message: str) -> Finding:
    """Return a finding whose fix leaves every placeholder out."""
    marks = re.compile("|".join([*map(re.escape, known), FOREIGN.pattern]), re.IGNORECASE)
    bare = [marks.sub("", prompt).strip() for prompt in run.prompts]
    value = quoted(bare[0]) if len(bare) == 1 else f"[{','.join(map(quoted, bare))}]"
    return Finding(
        code="RUN120",
        severity="error" if severity == "error" else "warning",
        message=message,
        at=plan.recipe.where(("run", "prompt")),
        why="without placeholders, what is shown is put before the text as the model was trained",
        fix=shell(f"run.prompt={value}"),
    )
