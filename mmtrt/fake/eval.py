"""``models/core/multimodal/eval.py``: an accuracy made of the engines' content.

Source: TensorRT-LLM 1.2, ``examples/models/core/multimodal/eval.py``, for the lines of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmtrt.fake import engines, files, hub, inputs, log, parser, serving_limits, settings
from mmtrt.fake.failure import ToolFailure, require

HF_REFUSED = ("vila", "cogvlm", "neva", "internvl")
QUESTION = "Question: what is written on the sign that the person in the picture holds? Answer:"
LEAST, SPREAD = 40, 50
DATA = (".parquet", ".json", ".jsonl", ".csv", ".arrow", ".zip", ".tar", ".py")
"""Suffixes of the files that ``datasets.load_dataset`` reads of a directory."""


def run(tool: str, words: Sequence[str]) -> int:
    """Evaluate engines, the original model, or both."""
    flags = parser.read(tool, words)
    log.version()
    kind = flags.text("--model_type")
    require(kind is not None, "ValueError", f"Unsupported model_type: {kind}")
    log.set_level(flags.text("--log_level") or "info")
    task = str(flags.text("--eval_task"))
    _load_dataset(flags.text("--dataset_dir"), task)
    hf, trtllm = flags.is_on("--test_hf"), flags.is_on("--test_trtllm")
    played = settings.read()
    if hf and kind in HF_REFUSED:
        raise ToolFailure("ValueError", f"Unsupported HF model_type: {kind}")
    samples = flags.number("--max_ite")
    found: dict[str, int] = {}
    if hf:
        model = Path(flags.text("--hf_model_dir") or "")
        log.info("Load HF model takes: 0.0 sec")
        found["HF"] = correct(played.hf_accuracy, files.content_digest(model), samples)
    if trtllm:
        loaded = engines.load(flags)
        hub.require_of("eval", loaded.family)
        require(
            loaded.model_type.removesuffix("-opt").removesuffix("-t5") == kind,
            "ValueError",
            f"a {kind} prompt for the engines of a {loaded.model_type} model",
        )
        log.info("Load TensorRT LLM model takes: 0.0 sec")
        # The runner indexes picture and text as lists, and is given one of each.
        require(kind != "qwen2_vl", "TypeError", "'Image' object is not subscriptable")
        request = inputs.prepare(loaded, flags, QUESTION, None)
        serving_limits.check(loaded, request, flags)
        found["TRT-LLM"] = correct(played.accuracy, loaded.digest, samples)
    if not found:
        log.info("Neither enable test_trtllm nor enable test_hf")
    elif settings.rank() == 0:
        log.info(f"total iterations: {samples}")
        for name, right in found.items():
            log.info(f"{name}'s accuracy: {100 * right / samples:4.2f}%")
    threshold = flags.value("--accuracy_threshold")
    if threshold is not None and trtllm:
        require(
            found["TRT-LLM"] / samples >= threshold / 100,
            "AssertionError",
            f"TRT-LLM's accuracy is below the threshold: {threshold}%.",
        )
    log.info("Evaluation takes: 0.0 sec")
    return 0


def correct(stated: float | None, digest: str, samples: int) -> int:
    """Return the number of right answers: as stated, else 40 to 90 per cent by the digest."""
    percent = LEAST + int(digest[:8], 16) % (SPREAD + 1) if stated is None else stated
    return round(percent * samples / 100)


def _load_dataset(directory: str | None, task: str) -> None:
    if directory is not None and (Path(directory) / "dataset_info.json").is_file():
        log.info(f"load dataset by load_from_disk from {directory}")
        return
    log.info(f"load dataset by load_dataset from {directory or task}")
    if directory is None:
        hub.require(task)
        return
    require(
        any(path.suffix in DATA for path in Path(directory).rglob("*")),
        "datasets.exceptions.EmptyDatasetError",
        f"The directory at {directory} doesn't contain any data files",
    )
