"""``trtllm-build``: a checkpoint becomes ``rank<r>.engine`` and ``config.json``.

Source: TensorRT-LLM 1.2, ``commands/build.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.fake import files, limits, log, parser, plugins, settings
from mmtrt.fake.failure import ToolFailure, require

ARCHITECTURES = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "GPTForCausalLM"),
        *("Qwen2VLForConditionalGeneration", "FuyuForCausalLM", "Kosmos2ForConditionalGeneration"),
        *("Phi3ForCausalLM", "Phi3VForCausalLM", "Phi4MMForCausalLM", "InternLM2ForCausalLM"),
        *("MllamaForConditionalGeneration", "InternLMXComposer2ForCausalLM", "OPTForCausalLM"),
        *("CogVLMForCausalLM", "EncoderModel", "DecoderModel"),
    }
)
ADAPTERS = ("adapter_model.bin", "adapter_model.safetensors")


def run(tool: str, words: Sequence[str]) -> int:
    """Build the engines of one checkpoint."""
    flags = parser.read(tool, words)
    log.version()
    log.set_level(flags.text("--log_level") or "info")
    if flags.is_on("--gather_context_logits") and flags.number("--max_draft_len") > 0:
        raise ToolFailure(
            "RuntimeError", "Gather context logits is not support with draft len > 0."
        )
    output = Path(flags.text("--output_dir") or "engine_outputs")
    output.mkdir(parents=True, exist_ok=True)
    if flags.has("--model_cls_file"):
        require(flags.has("--model_cls_name"), "AssertionError")
    source = flags.text("--checkpoint_dir") or flags.text("--model_config")
    if source is None:
        raise ToolFailure("AttributeError", "'NoneType' object has no attribute 'lower'")
    is_config = source.lower().endswith(".json")
    checkpoint = files.read_json(Path(source) if is_config else Path(source) / "config.json")
    if flags.text("--multiple_profiles") == "enable" and flags.has("--opt_num_tokens"):
        raise ToolFailure(
            "RuntimeError",
            "multiple_profiles is enabled, while opt_num_tokens is set. They are not supposed to "
            "be working in the same time for now.",
        )
    _build(flags, tool, output, checkpoint, None if is_config else Path(source))
    log.info("Total time of building all engines: 00:00:00")
    return 0


def _build(
    flags: parser.Flags,
    tool: str,
    output: Path,
    checkpoint: dict[str, Any],
    source: Path | None,
) -> None:
    architecture = checkpoint.get("architecture")
    for feature, needed in (("streamingllm", "Llama"), ("pp_reduce_scatter", "Mixtral")):
        if flags.text(f"--{feature}") == "enable":
            require(
                architecture == f"{needed}ForCausalLM",
                "AssertionError",
                f"{feature} is only supported in the {needed.lower()} model.",
            )
    require(
        architecture in ARCHITECTURES,
        "AssertionError",
        f"Unsupported model architecture: {architecture}",
    )
    world = int((checkpoint.get("mapping") or {}).get("world_size", 1))
    _require_workers(flags)
    if source is not None:
        _require_weights(source, world)
    chosen = plugins.plugin_config(flags, tool, checkpoint)
    config = limits.build_config(flags, checkpoint, flags.is_on("--context_fmha"))
    if architecture == "CogVLMForCausalLM" and config["max_prompt_embedding_table_size"]:
        require(
            checkpoint.get("use_prompt_tuning"),
            "TypeError",
            "Embedding.forward() takes 2 positional arguments but 5 were given "
            "(the checkpoint was converted without --use_prompt_tuning)",
        )
    config["plugin_config"] = chosen
    config["lora_config"] = _lora(flags, output)
    _write(flags, output, checkpoint, config, source, world)


def _require_workers(flags: parser.Flags) -> None:
    workers = min(settings.read().gpus, flags.number("--workers"))
    require(workers > 0, "ValueError", "max_workers must be greater than 0")


def _require_weights(source: Path, world: int) -> None:
    for rank in range(world):
        path = source / f"rank{rank}.safetensors"
        require(path.is_file(), "FileNotFoundError", f'No such file or directory: "{path}"')


def _lora(flags: parser.Flags, output: Path) -> dict[str, Any]:
    """Return the adapter's configuration; its files are copied beside the engine."""
    directories = flags.words("--lora_dir") or []
    if (flags.text("--lora_plugin") or "disable") == "disable":
        return {"lora_dir": [], "max_lora_rank": 64}
    for index, directory in enumerate(directories):
        place = Path(directory)
        adapters = [place / name for name in ADAPTERS if (place / name).is_file()]
        found = place / "adapter_config.json"
        if not found.is_file() or not adapters:
            missing = "adapter_model.bin" if found.is_file() else "adapter_config.json"
            raise ToolFailure(
                "FileNotFoundError", f"[Errno 2] No such file or directory: '{place / missing}'"
            )
        target = output / "lora" / str(index)
        target.mkdir(parents=True, exist_ok=True)
        for path in (found, *adapters):
            shutil.copyfile(path, target / path.name)
    return {
        # Where the adapter lay is not written down: engines of equal input must be equal.
        "lora_dir": [f"lora/{index}" for index in range(len(directories))],
        "max_lora_rank": flags.number("--max_lora_rank") or 64,
    }


def _write(
    flags: parser.Flags,
    output: Path,
    checkpoint: dict[str, Any],
    config: dict[str, Any],
    source: Path | None,
    world: int,
) -> None:
    pretrained = {key: value for key, value in checkpoint.items() if key != "fake"}
    version = settings.read().version
    document = {"version": version, "pretrained_config": pretrained, "build_config": config}
    mine, all_ = settings.rank(), settings.ranks()
    for rank in range(world):
        if flags.is_on("--dry_run") or rank % all_ != mine:
            continue
        weights = source / f"rank{rank}.safetensors" if source is not None else None
        seed = files.content_digest(weights) if weights is not None else None
        engine = {"rank": rank, "version": version, "digest": files.digest(document, seed, rank)}
        log.info(f"Serializing engine to rank{rank}.engine...")
        files.write_engine(output / f"rank{rank}.engine", engine)
    if mine == 0:
        files.write_json(output / "config.json", document)
        cache = Path(flags.text("--output_timing_cache") or "model.cache")
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(b"mmtrt fake timing cache\n")
        log.info(f"Timing cache serialized to {cache}")
