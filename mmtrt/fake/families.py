"""What tells the model families apart for the tools: one row for each section of the README."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmtrt.fake.failure import ToolFailure


@dataclass(frozen=True)
class Family:
    """How a checkpoint looks on the hub and what the vision build calls it."""

    hf_type: str | None
    """``model_type`` of ``config.json``; ``None``: it states none, or there is no such file."""
    architecture: str
    """``architectures[0]`` of ``config.json``."""
    vision: str | None = None
    """``--model_type`` of ``build_multimodal_engine.py``; ``None``: no vision engine."""
    text_key: str = ""
    """Where ``config.json`` keeps the language model's numbers; empty: at the top."""
    precision: str = "float16"
    """Of the vision engine; ``dtype``: as the checkpoint's."""
    item: tuple[int, ...] = ()
    """Shape of one item of the vision engine where facts do not give it."""
    has_tokenizer: bool = True
    is_nemo: bool = False


FAMILIES: dict[str, Family] = {
    "blip2": Family("blip-2", "Blip2ForConditionalGeneration", "blip2", "text_config"),
    "cogvlm": Family(None, "CogVLMForCausalLM", "cogvlm", precision="dtype", has_tokenizer=False),
    "deplot": Family(
        "pix2struct",
        "Pix2StructForConditionalGeneration",
        "pix2struct",
        "text_config",
        item=(2048, 770),
    ),
    "fuyu": Family("fuyu", "FuyuForCausalLM", "fuyu", item=(4096, 2700)),
    "gemma3": Family("gemma3", "Gemma3ForConditionalGeneration", None, "text_config"),
    "internlm_xcomposer2": Family(
        "internlmxcomposer2", "InternLMXComposer2ForCausalLM", "internlm-xcomposer2"
    ),
    "internvl2": Family("internvl_chat", "InternVLChatModel", "internvl", "llm_config"),
    "kosmos2": Family("kosmos-2", "Kosmos2ForConditionalGeneration", "kosmos-2", "text_config"),
    "llava": Family("llava", "LlavaForConditionalGeneration", "llava", "text_config"),
    "llava_next": Family(
        "llava_next", "LlavaNextForConditionalGeneration", "llava_next", "text_config"
    ),
    "llava_onevision": Family(
        "llava_onevision",
        "LlavaOnevisionForConditionalGeneration",
        "llava_onevision",
        "text_config",
    ),
    "vila": Family("llava_llama", "LlavaLlamaModel", "vila", "llm_cfg"),
    "mllama": Family(
        "mllama", "MllamaForConditionalGeneration", "mllama", "text_config", precision="dtype"
    ),
    "neva": Family(None, "", "neva", precision="bfloat16", is_nemo=True),
    "nougat": Family("vision-encoder-decoder", "VisionEncoderDecoderModel", "nougat", "decoder"),
    "phi3_vision": Family("phi3_v", "Phi3VForCausalLM", "phi-3-vision"),
    "phi4_multimodal": Family("phi4mm", "Phi4MMForCausalLM", "phi-4-multimodal"),
    "qwen2_vl": Family("qwen2_vl", "Qwen2VLForConditionalGeneration", "qwen2_vl"),
    "video_neva": Family(None, "", "video-neva", precision="bfloat16", is_nemo=True),
    "llama": Family("llama", "LlamaForCausalLM"),
}
"""By the name that recipes and ``mmtrt.sizing`` use; ``llama`` is a tokenizer's directory."""


def named(name: str) -> Family:
    """Return a family by its name.

    Raises:
        ToolFailure: if there is none.
    """
    if name not in FAMILIES:
        raise ToolFailure("ValueError", f"no stand-in for family {name!r}")
    return FAMILIES[name]


def of_config(config: Mapping[str, Any]) -> str | None:
    """Return the name of the family that a model's ``config.json`` belongs to."""
    if config.get("family") in FAMILIES:
        return str(config["family"])
    architectures = config.get("architectures") or [None]
    for name, family in FAMILIES.items():
        if family.hf_type is not None and family.hf_type == config.get("model_type"):
            return name
        if family.architecture and family.architecture == architectures[0]:
            return name
    return None


def language_model(name: str, family: str) -> str:
    """Return the architecture of the language model inside, by the checkpoint's own name.

    Source: ``config.json`` of the repositories that the README names.
    """
    lower = name.lower()
    if family == "internvl2":
        if "1b" in lower:
            return "Qwen2ForCausalLM"
        return "Phi3ForCausalLM" if "4b" in lower else "InternLM2ForCausalLM"
    if family == "blip2":
        return "T5ForConditionalGeneration" if "t5" in lower else "OPTForCausalLM"
    if family == "llava_next":
        return "LlamaForCausalLM" if "34b" in lower or "vicuna" in lower else "MistralForCausalLM"
    return {
        "llava": "LlamaForCausalLM",
        "llava_onevision": "Qwen2ForCausalLM",
        "vila": "LlamaForCausalLM",
        "nougat": "MBartForCausalLM",
    }.get(family, FAMILIES[family].architecture)


def template_name(name: str) -> str:
    """Return ``text_config._name_or_path`` of a LLaVA-NeXT checkpoint: it chooses the prompt."""
    lower = name.lower()
    if "34b" in lower:
        return "NousResearch/Nous-Hermes-2-Yi-34B"
    return "mistralai/Mistral-7B-Instruct-v0.2" if "mistral" in lower else "lmsys/vicuna-7b-v1.5"
