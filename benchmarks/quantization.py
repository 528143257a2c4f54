"""Number formats of native engines: size, speed and what they cost in accuracy.

Of the tiny LLaVA that ships, which answers right or wrong; and of a language model of 100 million
random weights, whose logits a linear readout classifies (``readout``). Random weights are the worst
case: nothing in them is redundant. Their next tokens are compared with the float32 engine's as
well, for information: the best two lie so close together that no goal would mean anything.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import readout
from benchmarks.bench import ROOT, Bench
from benchmarks.rows import Section, times, verdict
from benchmarks.timing import MeasurementFailed

FORMATS = ("none", "int8_wo", "int8_sq", "int4_wo", "int4_awq")
GOAL_ACCURACY = 0.98
"""Of the unquantized engine's accuracy."""
GOAL_SMALLER = {"int8": 1.9, "int4": 3.5}
"""Linear weights of the language model, float16 beside the format."""

SCENES = 200
"""Held-out pictures, five questions each: the accuracy of the model card, with a seed of its own.
"""
SCENE_SEED = 11
SIDE_PX = 96
BATCH = 50
MODEL = ROOT / "recipes" / "assets" / "llava_tiny"
PICTURES = ROOT / "recipes" / "assets" / "pictures"

TEXT = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "vocab_size": 16384,
}
"""110 million weights with embedding and head, 85 million of them linear."""
REQUESTS, PROMPT_LEN, NEW_TOKENS = 8, 64, 64
PREFILL_LEN, TIMED_STEPS, ROUNDS = 128, 24, 5
MAX_SEQ_LEN = 192
SEED = 7


@dataclass(frozen=True)
class Built:
    """The engines of one format."""

    format: str
    engine: Path
    linear_bytes: int
    float16_bytes: int


def measure(bench: Bench) -> Section:
    """Build every format of both models and compare them with the unquantized engine."""
    section = Section("Number formats of native engines")
    _trained(section, bench.directory("quant-tiny"))
    _random(section, bench.directory("quant-random"))
    section.notes.append(
        f"Trained: the tiny LLaVA that ships, {SCENES} held-out pictures with 5 questions, exact "
        "match of the greedy answers. Random: a Llama of "
        f"{TEXT['num_hidden_layers']} layers of {TEXT['hidden_size']} with weights from a seed. "
        f"Classes: {readout.CLASSES} templates of {readout.LENGTH} random tokens, each token "
        f"replaced by another with a chance of {readout.REPLACED:g}; a ridge regression reads the "
        f"class from the logits after the prompt. It is fitted on {readout.TRAINING} prompts and "
        f"the unquantized engine's logits, and reads {readout.HELD_OUT} held-out prompts of every "
        f"engine; by chance it is right in {1 / readout.CLASSES:.4f}. The share replaced was "
        "chosen on other seeds, by the unquantized engine alone, so that it is neither always "
        f"right nor often wrong. Sums of {len(readout.SEEDS)} data sets from as many seeds, as one "
        "is too small to judge a loss of 2 in 100. Lost and won: prompts that only the "
        "unquantized, or only this engine gets right; the kept share is uncertain by the root of "
        "their sum over the unquantized engine's right ones (one standard error). "
        f"Best token: the same one after {REQUESTS} x {NEW_TOKENS} fixed prefixes as with the "
        "float32 engine, and the mean divergence of the distributions in nats. It has no goal: "
        "the best two of the 16,384 logits lie 0.14 apart (median; a quarter of the logits' "
        "spread), every tenth pair less than 0.01, so it tells how close tokens lie, not what a "
        "format costs in a task. Linear weights: bytes of their integers and scales beside 2 bytes "
        "each. "
        f"Formats take turns in {ROUNDS} rounds; prefill of {PREFILL_LEN} tokens, then "
        f"{TIMED_STEPS} decode steps, one request."
    )
    section.commands.append("python -m benchmarks.all --only quantization")
    return section


def _trained(section: Section, work: Path) -> None:
    built = list(build_engines(MODEL, work, PICTURES, max_batch_size=BATCH, max_seq_len=96))
    pictures = drawn_pictures(work / "drawn")
    plain = 0.0
    for each in built:
        right, total = count_right(each.engine, pictures)
        share = right / total
        plain = plain or share
        kept = share / plain
        section.add(
            f"trained, {each.format}: exact answers",
            f"{right} of {total} ({share:.4f})",
            f"{kept:.4f} of unquantized",
            **_goal(each.format, kept),
        )
        _size(section, "trained", each)


def _random(section: Section, work: Path) -> None:
    _make_random(work / "model")
    built = list(
        build_engines(
            *(work / "model", work, _texts(work / "texts")),
            max_batch_size=REQUESTS,
            max_seq_len=MAX_SEQ_LEN,
        )
    )
    sessions = {each.format: _session(each.engine) for each in built}
    _classified(section, sessions)
    tokens, expected = _next_tokens(sessions["none"])
    for each in built[1:]:
        _, logits = _next_tokens(sessions[each.format], tokens)
        top_1, divergence = _compare(expected, logits)
        section.add(
            f"random, {each.format}: the same best token",
            f"{top_1:.4f}",
            f"KL {divergence:.2e}",
        )
        _size(section, "random", each)
    timings = _timed(sessions)
    for each in built:
        prefill, step = (statistics.median(values) for values in timings[each.format])
        ratios = [
            statistics.median(b / o for b, o in zip(base, own))
            for base, own in zip(timings["none"], timings[each.format])
        ]
        section.add(
            f"random, {each.format}: prefill, decode step",
            f"{prefill * 1e3:.1f} ms, {step * 1e3:.2f} ms",
            f"{times(ratios[0])} and {times(ratios[1])} as fast as unquantized",
        )


def _classified(section: Section, sessions: dict[str, Any]) -> None:
    """Compare what the readout of the unquantized engine's logits says of each engine's."""
    found = [readout.measure(sessions, "none", seed, REQUESTS) for seed in readout.SEEDS]
    total = len(found) * readout.HELD_OUT
    for name in sessions:
        pairs = [(each["none"], each[name]) for each in found]
        count = sum(int(own.sum()) for _, own in pairs)
        shares = [own.sum() / plain.sum() for plain, own in pairs]
        kept = count / sum(int(plain.sum()) for plain, _ in pairs)
        lost = sum(int((plain & ~own).sum()) for plain, own in pairs)
        won = sum(int((own & ~plain).sum()) for plain, own in pairs)
        told = f" ({min(shares):.4f} to {max(shares):.4f} a data set); {lost} lost, {won} won"
        section.add(
            f"random, {name}: classes read from logits",
            f"{count} of {total} ({count / total:.4f})",
            f"{kept:.4f} of unquantized{'' if name == 'none' else told}",
            **_goal(name, kept),
        )


def _goal(format_: str, value: float) -> dict[str, str]:
    if format_ == "none":
        return {}
    goal = f"at least {GOAL_ACCURACY:g}"
    return {"goal": goal, "verdict": verdict(value, at_least=GOAL_ACCURACY)}


def _size(section: Section, model: str, each: Built) -> None:
    if each.format == "none":
        return
    factor = each.float16_bytes / each.linear_bytes
    least = GOAL_SMALLER[each.format.partition("_")[0]]
    section.add(
        f"{model}, {each.format}: linear weights",
        f"{each.linear_bytes / 1e6:.2f} MB",
        f"float16 {each.float16_bytes / 1e6:.2f} MB ({times(factor)})",
        goal=f"at least {least:g}x smaller",
        verdict=verdict(factor, at_least=least),
    )


def build_engines(
    model: Path,
    work: Path,
    dataset: Path,
    *,
    max_batch_size: int,
    max_seq_len: int,
    formats: Sequence[str] = FORMATS,
    engine_format: str = "onnxruntime",
) -> Iterator[Built]:
    """Yield the engines of each format, built by the stages as a recipe starts them."""
    run_stage("convert", "--model-dir", model, "--output-dir", work / "none")
    vision = ("--checkpoint-dir", work / "none" / "vision", "--output-dir", work / "vision")
    run_stage("build_vision", *vision, "--max-batch-size", max_batch_size)
    for name in formats:
        checkpoint, engine = work / name, work / f"engine-{name}"
        if name != "none":
            run_stage(
                "quantize",
                *("--checkpoint-dir", work / "none", "--output-dir", checkpoint, "--format", name),
                *("--model-dir", model, "--calib-dataset", dataset),
            )
        run_stage(
            "build_llm",
            *("--checkpoint-dir", checkpoint / "llm", "--output-dir", engine / "llm"),
            *("--max-batch-size", max_batch_size, "--max-seq-len", max_seq_len),
            *("--max-input-len", max_seq_len - 16, "--engine", engine_format),
        )
        (engine / "vision").symlink_to(work / "vision")
        yield Built(name, engine, *_linear_bytes(work / "none" / "llm", checkpoint / "llm"))


def run_stage(name: str, *flags: object) -> None:
    argv = [sys.executable, "-m", f"mmtrt.native.{name}", *map(str, flags)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementFailed(done.stderr)


def _linear_bytes(plain: Path, packed: Path) -> tuple[int, int]:
    """Return the bytes of the linear weights, and those that float16 would take."""
    from mmtrt.native.component import WEIGHTS_FILE, read_component
    from mmtrt.native.families import family_of
    from mmtrt.native.safetensors_file import read_header

    before, after = read_header(plain / WEIGHTS_FILE), read_header(packed / WEIGHTS_FILE)
    family = family_of(read_component(plain, "llm").family)
    modules = tuple(f"{module}." for module in family.linear_modules(before))
    linear = [tensor for name, tensor in before.items() if name.startswith(modules)]
    size = sum(tensor.size_bytes for name, tensor in after.items() if name.startswith(modules))
    return size, sum(tensor.size_bytes // 2 for tensor in linear)


def _session(engine: Path) -> Any:
    from mmtrt.native.session import EngineSession

    session = EngineSession(engine)
    session.load("llm")
    return session


def drawn_pictures(directory: Path) -> list[tuple[Path, Any]]:
    """Return held-out pictures as files, each with its scene."""
    from PIL import Image

    from mmtrt.native.shapes import draw, scenes

    directory.mkdir()
    found = []
    for number, scene in enumerate(islice(scenes(SCENE_SEED, "quantization"), SCENES)):
        path = directory / f"{number}.png"
        Image.fromarray(draw(scene, SIDE_PX)).save(path)
        found.append((path, scene))
    return found


def count_right(engine: Path, pictures: Sequence[tuple[Path, Any]]) -> tuple[int, int]:
    """Return the answers that are exactly right, and all."""
    from mmtrt.native.multimodal_session import MultimodalSession
    from mmtrt.native.shapes import QUESTIONS, answer

    session = MultimodalSession(engine, MODEL)
    asked = [(path, kind, scene) for path, scene in pictures for kind in QUESTIONS]
    right = 0
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        told = session.answer(
            [QUESTIONS[kind] for _, kind, _ in part],
            [[str(path)] for path, _, _ in part],
            max_new_tokens=16,
        )
        right += sum(
            one.text == answer(kind, scene)
            for one, (_, kind, scene) in zip(told.answers, part, strict=True)
        )
    return right, len(asked)


def _make_random(directory: Path) -> None:
    """Write a LLaVA whose language model is large and random, with a small tower."""
    import torch
    import transformers as tf

    from mmtrt.native.tiny.parts import VISION, fast_tokenizer, save

    torch.manual_seed(SEED)
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**VISION, image_size=24, patch_size=8, projection_dim=32),
        text_config=tf.LlamaConfig(**TEXT, bos_token_id=1, eos_token_id=2, pad_token_id=0),
        image_token_index=3,
        image_seq_length=9,
        tie_word_embeddings=False,
    )
    images = tf.CLIPImageProcessorPil(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
    )
    processor = tf.LlavaProcessor(
        images,
        fast_tokenizer(["<image>"]),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    save(directory, tf.LlavaForConditionalGeneration(config).eval(), processor)


def _texts(directory: Path) -> Path:
    """Write a calibration set of random texts: other ids than those of the comparison."""
    import random
    import string

    draw = random.Random(SEED)
    letters = string.ascii_letters + string.digits + " .,?"
    lines = ("".join(draw.choices(letters, k=60)) for _ in range(32))
    directory.mkdir()
    (directory / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    return directory


def _next_tokens(session: Any, forced: Any = None) -> tuple[Any, Any]:
    """Return tokens ``[steps, B]`` and logits ``[steps, B, V]`` after fixed prompts.

    Args:
        session: the engine.
        forced: tokens to go on with; the engine's own best ones where ``None``.
    """
    import numpy as np

    prompts = np.random.default_rng(SEED).integers(4, TEXT["vocab_size"], (REQUESTS, PROMPT_LEN))
    logits = [session.prefill(prompts.tolist(), new_tokens=NEW_TOKENS)]
    tokens = []
    for step in range(NEW_TOKENS):
        tokens.append(logits[-1].argmax(axis=-1) if forced is None else forced[step])
        if step + 1 < NEW_TOKENS:
            logits.append(session.decode(tokens[-1].tolist()))
    return np.stack(tokens), np.stack(logits)


def _compare(expected: Any, found: Any) -> tuple[float, float]:
    """Return the share of equal best tokens, and the mean divergence of the distributions."""
    import numpy as np

    def logs(logits: Any) -> Any:
        shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    same = (expected.argmax(axis=-1) == found.argmax(axis=-1)).mean()
    wanted = logs(expected)
    divergence = (np.exp(wanted) * (wanted - logs(found))).sum(axis=-1).mean()
    return float(same), float(divergence)


def _timed(sessions: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Return seconds of the prefill and of a decode step for each format, round by round."""
    prompt = [list(range(4, 4 + PREFILL_LEN))]
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sessions}
    for number in range(ROUNDS + 1):
        for name, session in sessions.items():
            started = perf_counter()
            session.prefill(prompt, new_tokens=TIMED_STEPS)
            filled = perf_counter()
            for _ in range(TIMED_STEPS):
                session.decode([5])
            ended = perf_counter()
            if number:  # the first round warms up
                seconds[name][0].append(filled - started)
                seconds[name][1].append((ended - filled) / TIMED_STEPS)
    return seconds
