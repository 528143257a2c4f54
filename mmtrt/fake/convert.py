"""The ``convert_checkpoint.py`` scripts: which models each reads, and what each asserts.

Source: TensorRT-LLM 1.2, ``examples/models/*/*/convert_checkpoint.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmtrt.fake import checkpoint, enc_dec, files, hub, log, model_dir, parser
from mmtrt.fake.checkpoint import Split
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.model_dir import Model

WEIGHT_ONLY = {"int8": "W8A16", "int4": "W4A16"}
GPTQ = {"int8_gptq": "W8A16_GPTQ", "int4_gptq": "W4A16_GPTQ", "int4_awq": "W4A16_AWQ"}


@dataclass(frozen=True)
class Script:
    """One conversion script."""

    reads: dict[str, str]
    """``model_type`` (or architecture) -> architecture of the checkpoint; ``*`` keeps its own."""
    inside: frozenset[str] = frozenset()
    """For models that wrap one: architectures of the language model inside that it knows."""
    has_pp: bool = True
    path_words: dict[str, str] = field(default_factory=dict)
    """``model_type`` -> word that the script looks for in the path."""


SCRIPTS = {
    "core/llama": Script(
        {"llava": "*", "llava_next": "*", "llava_llama": "*", "llama": "*", "mistral": "*"},
        inside=frozenset({"LlamaForCausalLM", "MistralForCausalLM"}),
        path_words={"llava": "llava", "llava_next": "llava", "llava_llama": "vila"},
    ),
    "core/qwen": Script(
        {
            "qwen2_vl": "Qwen2VLForConditionalGeneration",
            "llava_onevision": "*",
            "internvl_chat": "*",
            "qwen2": "*",
        },
        inside=frozenset({"Qwen2ForCausalLM", "Qwen2VLForConditionalGeneration"}),
    ),
    "core/gpt": Script({"fuyu": "FuyuForCausalLM", "kosmos-2": "Kosmos2ForConditionalGeneration"}),
    "core/phi": Script(
        {
            "phi3_v": "Phi3VForCausalLM",
            "phi4mm": "Phi4MMForCausalLM",
            "internvl_chat": "*",
            "phi3": "*",
        },
        inside=frozenset({"Phi3ForCausalLM", "Phi3VForCausalLM", "Phi4MMForCausalLM"}),
        has_pp=False,
    ),
    "core/mllama": Script({"mllama": "MllamaForConditionalGeneration"}),
    "core/internlm2": Script(
        {"internlmxcomposer2": "InternLMXComposer2ForCausalLM", "internvl_chat": "*"},
        inside=frozenset({"InternLM2ForCausalLM", "InternLMXComposer2ForCausalLM"}),
    ),
    "contrib/opt": Script({"blip-2": "OPTForCausalLM", "opt": "OPTForCausalLM"}, has_pp=False),
    "contrib/cogvlm": Script({"CogVLMForCausalLM": "CogVLMForCausalLM"}),
}
"""By the directory below ``examples/models``; ``core/enc_dec`` has a module of its own."""


def run(tool: str, words: Sequence[str]) -> int:
    """Convert a checkpoint."""
    flags = parser.read(tool, words)
    log.version()
    name = tool.removeprefix("models/").rsplit("/", 1)[0]
    if name == "core/enc_dec":
        enc_dec.convert(flags)
    elif name == "core/gpt" and flags.has("--nemo_ckpt_path"):
        _convert_nemo(flags)
    else:
        _convert(name, SCRIPTS[name], flags)
    log.plain("Total time of converting checkpoints: 00:00:00")
    return 0


def _convert(name: str, script: Script, flags: parser.Flags) -> None:
    mapping = mapping_of(flags)
    if not script.has_pp:
        require(mapping.pp == 1, "AssertionError", "Pipeline parallelism is not supported.")
    output = Path(flags.text("--output_dir") or "tllm_checkpoint")
    if name == "core/llama" and not flags.has("--model_dir") and not flags.has("--meta_ckpt_dir"):
        # The real script converts nothing then, and says so nowhere.
        files.write_json(output / "config.json", {"architecture": "LlamaForCausalLM"})
        return
    model = model_dir.load(flags.text("--model_dir"), weights=True)
    hub.require_of("convert", str(model.family))
    architecture = _architecture(name, script, model)
    _require_words(script, model)
    if model.hf_type == "llava_llama":
        model_dir.require_vila_code(model.path)
    if flags.has("--smoothquant") and model.hf_type in ("llava", "llava_next", "llava_llama"):
        raise ToolFailure("AssertionError", f"SmoothQuant does not support {model.hf_type} models.")
    _require_own(name, model, flags)
    checkpoint.require_division(model, mapping.tp)
    dtype = checkpoint.dtype_of(flags.text("--dtype") or "auto", model)
    extra: dict[str, object] = {}
    if name == "core/qwen":
        extra["qwen_type"] = "qwen2_vl" if model.hf_type == "qwen2_vl" else "qwen2"
    if name == "contrib/cogvlm":
        require(dtype == "bfloat16", "ValueError", "CogVLM only supports bfloat16 precision.")
        extra["use_prompt_tuning"] = flags.is_on("--use_prompt_tuning")
    if name == "core/internlm2" and model.hf_type == "internlmxcomposer2":
        _write_adapter(model)
    checkpoint.write(
        output, model, architecture, dtype, mapping, quantization_of(flags), seed=name, extra=extra
    )


def mapping_of(flags: parser.Flags) -> Split:
    """Return how the flags cut the model.

    Raises:
        ToolFailure: if a number is not positive, or those of experts do not fit.
    """
    tp, pp, cp = (flags.count(f"--{n}_size") or 1 for n in ("tp", "pp", "cp"))
    moe = [flags.count(f"--moe_{n}_size") or 1 for n in ("tp", "ep")]
    if any(flags.has(f"--moe_{n}_size") for n in ("tp", "ep")) and max(moe) > 0:
        require(
            moe[0] * moe[1] == tp,
            "ValueError",
            f"tp_size must equal to moe_tp_size * moe_ep_size, but got {tp} != {moe[0]} * {moe[1]}",
        )
    return Split(tp, pp, cp)


def quantization_of(flags: parser.Flags) -> dict[str, str | None]:
    """Return ``quantization`` of the checkpoint.

    A precision without ``--use_weight_only`` has no effect, but GPTQ and AWQ act alone.
    """
    precision = flags.text("--weight_only_precision") or "int8"
    algorithm = GPTQ.get(precision)
    if algorithm is None and flags.is_on("--use_weight_only"):
        algorithm = WEIGHT_ONLY[precision]
    kv = "INT8" if flags.is_on("--int8_kv_cache") else None
    kv = "FP8" if flags.is_on("--fp8_kv_cache") else kv
    return {"quant_algo": algorithm, "kv_cache_quant_algo": kv}


def _architecture(name: str, script: Script, model: Model) -> str:
    """Return the checkpoint's architecture, if this script reads such a model."""
    found = script.reads.get(model.hf_type) or script.reads.get(model.architecture)
    inside = model.language_model
    if found is None or (script.inside and inside not in script.inside):
        raise ToolFailure(
            "ValueError",
            f"Unrecognized model for {name}/convert_checkpoint.py: model_type {model.hf_type!r} "
            f"with a {inside}; it reads {', '.join(script.reads)}.",
        )
    return inside if found == "*" else found


def _require_words(script: Script, model: Model) -> None:
    word = script.path_words.get(model.hf_type)
    if word is not None and word not in model.path:
        raise ToolFailure(
            "KeyError",
            f"'model.embed_tokens.weight' (weights of a {model.hf_type} model are only mapped "
            f"where {word!r} is in the path, not in {model.path})",
        )


def _require_own(name: str, model: Model, flags: parser.Flags) -> None:
    """Check what only one script asks for."""
    if name == "contrib/opt":
        wanted = "blip2" if model.hf_type == "blip-2" else "opt"
        asked = flags.text("--model_type") or "opt"
        if asked != wanted or model.language_model == "T5ForConditionalGeneration":
            raise ToolFailure(
                "ValueError",
                f"Unrecognized configuration class for this kind of AutoModel: {model.hf_type} "
                f"({model.language_model}) read with --model_type {asked}.",
            )
    if name == "core/gpt":
        wanted = {"fuyu": "persimmon", "kosmos-2": "kosmos-2"}[model.hf_type]
        variant = flags.text("--gpt_variant")
        if wanted == "kosmos-2" and variant is None and "kosmos-2" in model.path:
            variant = wanted
        require(
            variant == wanted,
            "AssertionError",
            f"gpt_variant {variant} cannot read a {model.hf_type} model, use {wanted}",
        )
        if wanted == "kosmos-2" and "kosmos-2" not in model.path:
            raise ToolFailure("KeyError", f"'kosmos-2' is not in the path {model.path}")


def _convert_nemo(flags: parser.Flags) -> None:
    model = model_dir.load_nemo(str(flags.text("--nemo_ckpt_path")))
    mapping = mapping_of(flags)
    checkpoint.require_division(model, mapping.tp)
    for pair in flags.words("--nemo_rename_key") or ():
        require(
            pair.count(":") == 1, "ValueError", f"not enough values to unpack: {pair!r} is no a:b"
        )
    output = Path(flags.text("--output_dir") or "tllm_checkpoint")
    dtype = checkpoint.dtype_of(flags.text("--dtype") or "auto", model)
    renames = flags.words("--nemo_rename_key")
    checkpoint.write(
        output, model, "GPTForCausalLM", dtype, mapping, quantization_of(flags), seed=renames
    )
    (output / "tokenizer.model").write_bytes(b"mmtrt fake tokenizer\n")


def _write_adapter(model: Model) -> None:
    """Leave the adapter in the working directory, as the real script does."""
    Path("adapter_model.bin").write_bytes(b"mmtrt fake adapter\n" + model.digest().encode())
    files.write_json(
        Path("adapter_config.json"),
        {"r": 256, "lora_alpha": 256, "target_modules": ["attn_qkv", "attn_dense", "mlp_h_to_4h"]},
    )
