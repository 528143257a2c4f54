"""``build_multimodal_engine.py``: the vision encoder's engine and its ``config.json``.

Source: TensorRT-LLM 1.2, ``tensorrt_llm/tools/multimodal_builder.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.fake import (
    checkpoint,
    families,
    features,
    files,
    hub,
    log,
    model_dir,
    parser,
    settings,
)
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.model_dir import Model

READS = {"llava_onevision_lmms": ("llava_onevision", "llava", "llava_qwen")}
"""``--model_type`` that stands for several ``model_type`` of ``config.json``."""
CONFIG_ONLY = ("phi-3-vision", "phi-4-multimodal")
NEWLINES = ("llava_next", "llava_onevision", "llava_onevision_lmms")


def run(tool: str, words: Sequence[str]) -> int:
    """Build the vision engine."""
    flags = parser.read(tool, words)
    log.version()
    kind, path = flags.text("--model_type"), flags.text("--model_path")
    if flags.text("--output_dir") is None and path is None:
        raise ToolFailure("AttributeError", "'NoneType' object has no attribute 'split'")
    name = str(path).rsplit("/", 1)[-1]
    output = Path(flags.text("--output_dir") or f"tmp/trt_engines/{name}/multimodal_encoder")
    output.mkdir(parents=True, exist_ok=True)
    if kind is None:
        raise ToolFailure("TypeError", "argument of type 'NoneType' is not iterable")
    family = _family(kind)
    if kind == "vila":
        code = flags.text("--vila_path")
        require(code, "AssertionError", "Please clone and provide VILA source code path")
        found = (Path(str(code)) / "llava").is_dir()
        require(found, "ModuleNotFoundError", "No module named 'llava'")
    if families.named(family).is_nemo:
        model = model_dir.load_nemo(str(path))
    else:
        model = model_dir.load(path, weights=kind not in CONFIG_ONLY)
        _require_type(kind, model)
    require(settings.read().gpus > 0, "RuntimeError", "No CUDA GPUs are available")
    hub.require_of("build_vision", family, path)
    _build(flags, kind, family, model, output)
    return 0


def _family(kind: str) -> str:
    for name, family in families.FAMILIES.items():
        if family.vision == kind.removesuffix("_lmms"):
            return name
    raise ToolFailure("RuntimeError", f"Invalid model type {kind}")


def _require_type(kind: str, model: Model) -> None:
    """Stop at a checkpoint of another family (issue #2150)."""
    family = families.named(_family(kind))
    wanted = READS.get(kind, (family.hf_type, family.architecture))
    if model.hf_type not in wanted:
        raise ToolFailure(
            "ValueError",
            f"You are using a model of type {model.hf_type} to instantiate a model of type "
            f"{wanted[0]}. This is not supported for all configurations of models.",
        )
    visual = Path(model.path) / "visual.py"
    if kind == "cogvlm" and visual.is_file():
        text = visual.read_text(encoding="utf-8")
        require(
            "xops.memory_efficient_attention" not in text,
            "torch.onnx.errors.UnsupportedOperatorError",
            "Exporting the operator 'xformers::efficient_attention_forward_cutlass' to ONNX opset "
            "version 17 is not supported.",
        )


def _build(flags: parser.Flags, kind: str, family: str, model: Model, output: Path) -> None:
    batch = flags.number("--max_batch_size")
    row = families.named(family)
    precision = row.precision
    if precision == "dtype":
        precision = checkpoint.dtype_of("auto", model)
    recorded = kind
    if kind == "blip2":
        recorded = "blip2-t5" if model.language_model.startswith("T5") else "blip2-opt"
    builder: dict[str, Any] = {
        "model_name": "multiModal",
        "model_type": recorded,
        "precision": precision,
        "max_batch_size": batch,
    }
    if kind == "video-neva":
        builder["num_frames"] = model.facts.get("num_frames")
    places = [output]
    if kind == "phi-4-multimodal":
        places = [output / "vision", output / "audio"]
    for place in places:
        files.write_json(
            place / "config.json",
            {
                "builder_config": builder,
                "plugin_config": {},
                "family": family,
                "facts": dict(model.facts),
            },
        )
    if kind in NEWLINES:
        files.write_safetensors(
            output / "image_newlines.safetensors", "image_newline", model.digest()
        )
    if kind not in CONFIG_ONLY:
        log.plain(f"[TRT] [I] Building TRT engine to {output}/model.engine")
        engine = {
            "version": settings.read().version,
            "profile": _profile(flags, kind, family, model, batch),
            "digest": files.digest(model.digest(), builder),
        }
        files.write_engine(output / "model.engine", engine)
        log.plain(f"[TRT] [I] Succeeded building {output}/model.engine in 0 s")


def _profile(
    flags: parser.Flags, kind: str, family: str, model: Model, batch: int
) -> dict[str, int]:
    """Return smallest and largest size of the batch axis; of patch rows for Qwen2-VL."""
    if kind == "qwen2_vl":
        least, most = flags.number("--min_hw_dims"), flags.number("--max_hw_dims")
        require(least <= most * batch, "RuntimeError", f"Failed building: min {least} > max {most}")
        return {"min": least, "max": most * batch}
    return {"min": 1, "max": batch * features.tiles_per_slot(family, model.facts)}
