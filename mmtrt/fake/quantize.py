"""``quantization/quantize.py``: which models and formats it takes, and the checkpoint it exports.

Source: TensorRT-LLM 1.2, ``examples/quantization/quantize.py`` and
``tensorrt_llm/quantization/quantize_by_modelopt.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmtrt.fake import checkpoint, convert, hub, log, model_dir, parser, settings
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.model_dir import Model

ALGORITHMS = {
    "nvfp4": "NVFP4",
    "fp8": "FP8",
    "fp8_pc_pt": "FP8_PER_CHANNEL_PER_TOKEN",
    "int8_sq": "W8A8_SQ_PER_CHANNEL",
    "int4_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
    "int8_wo": "W8A16",
    "int4_wo": "W4A16",
    "full_prec": None,
}
UNCALIBRATED = ("full_prec", "int8_wo", "int4_wo")
AWQ_CALIB_SIZE = 32
SCIENCE_QA = ("scienceqa", "science_qa")

EXPORTS = {
    "llava": "LlamaForCausalLM",
    "llava_llama": "LlamaForCausalLM",
    "llava_onevision": "Qwen2ForCausalLM",
    "mllama": "MllamaForConditionalGeneration",
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "phi3_v": "Phi3VForCausalLM",
    "llama": "LlamaForCausalLM",
}
"""``model_type`` -> architecture of the checkpoint, of models that the loader special-cases or
that ``AutoModelForCausalLM`` can load and modelopt can export."""


def run(tool: str, words: Sequence[str]) -> int:
    """Quantize a model."""
    flags = parser.read(tool, words)
    log.version()
    if not flags.has("--model_dir") and not flags.has("--nemo_ckpt_path"):
        raise ToolFailure(
            "ValueError",
            "One of source checkpoint (model_dir, nemo_ckpt_path) must be specified",
        )
    require(settings.read().gpus > 0, "RuntimeError", "No CUDA GPUs are available")
    if flags.has("--model_dir"):
        _quantize(flags, model_dir.load(flags.text("--model_dir"), weights=True))
    else:
        _quantize_nemo(flags)
    return 0


def _quantize(flags: parser.Flags, model: Model) -> None:
    architecture = _load(model)
    dtype = checkpoint.dtype_of(flags.text("--dtype") or "auto", model)
    _write(flags, model, architecture, dtype)


def _quantize_nemo(flags: parser.Flags) -> None:
    model = model_dir.load_nemo(str(flags.text("--nemo_ckpt_path")))
    dtype = flags.text("--dtype") or "auto"
    if dtype not in ("auto", "float16", "bfloat16"):
        raise ToolFailure("ValueError", f"Unsupported dtype {dtype} for a NeMo checkpoint")
    dtype = checkpoint.dtype_of(dtype, model)
    output = _write(flags, model, "GPTForCausalLM", dtype)
    (output / "tokenizer.model").write_bytes(b"mmtrt fake tokenizer\n")


def _write(flags: parser.Flags, model: Model, architecture: str, dtype: str) -> Path:
    """Calibrate and export; return the directory."""
    format_ = flags.text("--qformat") or "full_prec"
    calib_size = flags.number("--calib_size")
    if "awq" in format_ and calib_size > AWQ_CALIB_SIZE:
        log.plain(
            f"AWQ calibration could take longer with calib_size = {calib_size}, "
            f"Using calib_size={AWQ_CALIB_SIZE} instead"
        )
        calib_size = AWQ_CALIB_SIZE
    dataset = None
    if format_ not in UNCALIBRATED:
        dataset = flags.text("--calib_dataset") or "cnn_dailymail"
        _require_dataset(dataset, model)
    mapping = convert.mapping_of(flags)
    checkpoint.require_division(model, mapping.tp)
    kv = flags.text("--kv_cache_dtype")
    quantization: dict[str, object] = {
        "quant_algo": ALGORITHMS[format_],
        "kv_cache_quant_algo": kv.upper() if kv not in (None, "None") else None,
    }
    if "awq" in format_:
        quantization["group_size"] = block = flags.number("--awq_block_size")
        width = model.number("hidden_size")
        require(
            width is None or width % block == 0,
            "AssertionError",
            f"the weights' {width} columns are no whole blocks of awq_block_size {block}",
        )
    output = Path(flags.text("--output_dir") or "exported_model")
    name = Path(dataset).name if dataset else None
    seed = (format_, name, calib_size if dataset else 0, flags.number("--seed"))
    extra = {"qwen_type": "qwen2_vl"} if model.hf_type == "qwen2_vl" else None
    checkpoint.write(
        output, model, architecture, dtype, mapping, quantization, seed=seed, extra=extra
    )
    log.plain("Quantized model exported to directory; total time used 0.00 s.")
    return output


def _load(model: Model) -> str:
    """Return the architecture of the exported checkpoint, as the real loader finds it."""
    if "vila" in model.path:
        model_dir.require_vila_code(model.path)
        return "LlamaForCausalLM"
    if "llava-onevision-qwen2" in model.path:
        require("hf" in model.path, "ModuleNotFoundError", "No module named 'llava'")
        return "Qwen2ForCausalLM"
    if model.hf_type == "internvl_chat":
        return model.language_model
    if model.hf_type in ("llava_llama", "llava_onevision") or model.hf_type not in EXPORTS:
        raise ToolFailure(
            "ValueError",
            f"Unrecognized configuration class of model_type {model.hf_type!r} for this kind of "
            "AutoModel: AutoModelForCausalLM.",
        )
    return EXPORTS[model.hf_type]


def _require_dataset(name: str, model: Model) -> None:
    """Check a calibration set: its name, where it is, and whether it fits the model's processor."""
    if not Path(name).is_dir():
        hub.require(name)
    is_science = any(word in name.lower() for word in SCIENCE_QA)
    if not (is_science or name == "pileval" or "cnn_dailymail" in name or Path(name).is_dir()):
        raise ToolFailure(
            "NotImplementedError", f"Unsupported dataset name or local repo directory: {name}."
        )
    if model.hf_type == "mllama" and not is_science:
        raise ToolFailure(
            "AttributeError", "'MllamaImageProcessor' object has no attribute 'batch_encode_plus'"
        )
    if model.hf_type != "mllama" and is_science:
        raise ToolFailure("AttributeError", "the tokenizer has no attribute 'preprocess_function'")
