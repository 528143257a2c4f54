"""``models/core/multimodal/run.py``: one request, answered without looking.

The answer to the tool's own sample is the one that ``--check_accuracy`` wants; any other is made of
a digest of engines and inputs.

Source: TensorRT-LLM 1.2, ``examples/models/core/multimodal/run.py``, for the lines of the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmtrt.fake import engines, files, hub, inputs, log, parser, serving_limits, settings
from mmtrt.fake.engines import Engines
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.inputs import Request

RULE = "-" * 57
SAMPLES = {
    "fuyu": "4",
    "kosmos-2": "a snowman warming himself by a fire.",
    "mllama": ", it would be: a rabbit",
    "pix2struct": "Characteristic | Cat Food, Day | Cat Food, Wet | Cat Treats",
    "qwen2_vl": "a woman and her dog on a beach",
}
SAMPLE = "singapore"
TRANSFORMS = ("phi-3-vision", "phi-4-multimodal")


def run(tool: str, words: Sequence[str]) -> int:
    """Answer one request."""
    flags = parser.read(tool, words)
    log.version()
    log.set_level(flags.text("--log_level") or "info")
    loaded = engines.load(flags)
    hub.require_of("run", loaded.family)
    images = flags.words("--image_path")
    request = inputs.prepare(loaded, flags, flags.words("--input_text"), images)
    serving_limits.check(loaded, request, flags)
    if settings.rank() == 0:
        _print(loaded, request, flags)
    return 0


def answers(loaded: Engines, request: Request) -> list[str]:
    """Return the text for each request of the batch."""
    stated = settings.read().answer
    if stated is None and request.is_sample:
        stated = SAMPLES.get(loaded.model_type, SAMPLE)
    if stated is not None:
        return [stated] * len(request.texts)
    return [
        f"fake answer {files.digest(loaded.digest, request.key, index)[:8]}"
        for index in range(len(request.texts))
    ]


def _print(loaded: Engines, request: Request, flags: parser.Flags) -> None:
    found = answers(loaded, request)
    log.info(RULE)
    if loaded.model_type != "nougat":
        log.info(f"\n[Q] {request.shown}")
    beams = flags.number("--num_beams")
    for text in found:
        log.info(f"\n[A]: {[text] * beams}")
    if beams == 1:
        log.info(f"Generated {serving_limits.words(found[0])} tokens")
    if flags.is_on("--check_accuracy"):
        _check_accuracy(loaded, flags, found)
    if flags.is_on("--run_profiling"):
        _print_latencies(loaded, request)
    log.info(RULE)


def _check_accuracy(loaded: Engines, flags: parser.Flags, found: list[str]) -> None:
    if loaded.model_type == "nougat":
        return
    if loaded.model_type in ("llava", "vila") and flags.has("--image_path"):
        raise ToolFailure("AttributeError", "'list' object has no attribute 'split'")
    wanted = SAMPLES.get(loaded.model_type, SAMPLE)
    if loaded.model_type == "mllama" and flags.has("--image_path"):
        return
    require(all(wanted in text for text in found), "AssertionError")


def _print_latencies(loaded: Engines, request: Request) -> None:
    """Print times that depend on engines and inputs only."""

    def made(name: str) -> float:
        return int(files.digest(loaded.digest, request.key, name)[:4], 16) / 1000

    vision, llm, decoding = made("vision"), made("llm"), made("decode")
    transform = made("transform") if loaded.model_type in TRANSFORMS else 0.0
    log.info("Latencies per batch (msec)")
    log.info(f"e2e generation: {vision + transform + llm + decoding:.1f}")
    log.info(f"  Preprocessing: {vision + transform:.1f}")
    log.info(f"    Vision encoder: {vision:.1f}")
    if transform:
        log.info(f"    Feature transform: {transform:.1f}")
    log.info(f"  LLM generate: {llm:.1f}")
    log.info(f"  Tokenizer decode: {decoding:.1f}")
