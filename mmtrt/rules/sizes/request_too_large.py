"""Flag a request whose own pictures and words do not fit the engines.

## What it checks
The pictures that ``run.image`` names, by the size in their headers, the frames of ``run.video``, the
length of ``run.audio`` (a WAV file) and the words of ``run.prompt`` against the rows of one request,
``max_input_len``, ``max_seq_len`` and the batch of the vision engine. Only what is certain counts: a word is at least one token, and a
picture that cannot be read here costs what every picture of the family costs, or nothing.

## Why it matters
Engines are sized for a workload, not for this request. A larger picture fails at run time, after
every engine is built: "Prompt vocab size ... is larger", "Maximum input length ... exceeds".

## Example
    mmtrt check recipe=vila run.image=[asset://pictures/red_circle_left_on_white.png,asset://pictures/blue_square_right_on_white.png]

## Use instead
    mmtrt check recipe=vila run.image=[asset://pictures/red_circle_left_on_white.png,asset://pictures/blue_square_right_on_white.png] workload.images_per_request=2

## Source
TensorRT-LLM 1.2 ``ModelRunnerCpp._check_inputs`` and ``promptTuningBuffers.cpp``;
NVIDIA/TensorRT-LLM issues 2702, 977 and 1382; triton-inference-server/tensorrtllm_backend 565.
"""  # noqa: E501 - the examples are commands

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.rules.request import Cost, Counter, asked


def check(plan: Plan) -> Iterator[Finding]:
    """Yield an error that names every limit which this request passes."""
    run = asked(plan)
    if run is None:
        return
    counter = Counter(plan, run)
    if counter.is_refused:
        return  # RUN122: no limit makes such a picture fit
    cost = counter.cost()
    passed = {name: sums for name, sums in _excesses(counter, cost) if sums[0] > sums[1]}
    if not passed:
        return
    first, (needed, allowed) = next(iter(passed.items()))
    key = "video_frames" if counter.frames else "image" if run.images else "prompt"
    key = "audio" if counter.heard else key
    batch = plan.recipe.sizing.limits.required("max_batch_size")
    # The table is for all requests, of which each has its share.
    wanted = {name: n * (batch if name == TABLE else 1) for name, (n, _) in passed.items()}
    yield Finding(
        code="SIZ106",
        severity="error",
        message=f"this request needs {needed} {UNITS[first]}, {first} allows {allowed}",
        at=plan.recipe.where(("run", key)),
        why=cost.because,
        fix=" ".join(f"{name}={value}" for name, value in wanted.items()),
    )


TABLE = "max_multimodal_len"
UNITS = {
    TABLE: "visual features",
    "max_input_len": "tokens of prompt",
    "max_seq_len": "tokens of prompt and answer",
    "max_num_tokens": "tokens in one step",
    "vision.max_batch_size": "of the vision engine's batch",
}


def _excesses(counter: Counter, cost: Cost) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield what is needed and what is allowed, for limits that are not too small already."""
    sizing, run = counter.recipe.sizing, counter.run
    limits, batch = sizing.limits, sizing.limits.required("max_batch_size")
    across, decoder = sizing.visual_input == "cross_attention", sizing.architecture == "decoder"
    usual = sizing.visual_prompt_tokens + max(sizing.demand.asked_text_tokens, 1)
    # SIZ101 to SIZ104 speak of limits that the workload passes.
    table = limits.value(TABLE)
    if table is not None and table // batch >= sizing.features_per_request:
        # Python deals out the rows as they are needed, C++ in equal shares.
        shared = run.session == "python" or not decoder
        yield TABLE, (cost.features, table // run.batch_size if shared else table // batch)
    prompt = limits.value("max_input_len")
    if prompt is not None and prompt >= usual and (decoder or not across):
        yield "max_input_len", (cost.prompt, prompt)
    step = limits.value("max_num_tokens")
    if counter.is_native and step is not None and decoder:
        batch_usual = (sizing.demand.batch_size or 1) * usual
        if step >= max(batch_usual, prompt or 0):
            # All prompts of a batch are read at once, each padded to the longest.
            yield "max_num_tokens", (cost.prompt * run.batch_size, step)
    seq = limits.value("max_seq_len")
    if seq is not None and decoder and seq >= usual + run.max_new_tokens:
        yield "max_seq_len", (cost.prompt + run.max_new_tokens, seq)
    vision, slot = counter.vision_batch(), sizing.image.tiles_per_slot
    if vision is None or counter.items_are_frames or run.batch_size > batch:
        return  # SIZ109 speaks of frames, RUN101 of the batch
    once = counter.recipe.file.runner.looks_once and not counter.is_native
    usual_batch = 1 if once else max(sizing.demand.batch_size or 1, run.batch_size)
    if vision // slot >= sizing.vision_batch(usual_batch):
        yield "vision.max_batch_size", (-(-cost.items // slot), vision // slot)
