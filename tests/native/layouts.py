"""Model directories as publishers left them: old keys of configurations, shards, spare buffers.

Each is made from a tiny model, in the layout of the repository that its row names, with files of
the kinds and keys that are there. The weights are bfloat16, as published.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}MARK{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _rope(text: dict[str, Any], **scaling: Any) -> None:
    """State rotations as transformers 4 did."""
    parameters = text.pop("rope_parameters")
    text["rope_theta"] = parameters.get("rope_theta", 10000.0)
    text["rope_scaling"] = scaling or None
    for key in ("layer_types", "_sliding_window_pattern"):
        text.pop(key, None)


def _gemma3(config: dict[str, Any]) -> None:
    """google/gemma-3-4b-it."""
    text = config["text_config"]
    rope = text["rope_parameters"]["full_attention"]
    text["rope_parameters"] = {"rope_theta": rope["rope_theta"]}
    _rope(text, factor=8.0, rope_type="linear")
    text |= {"sliding_window_pattern": 2, "rope_local_base_freq": 10000.0}
    text.pop("rope_theta")  # the class's own
    text.pop("tie_word_embeddings")
    config.pop("tie_word_embeddings")
    config["eos_token_id"] = [2, 7]


def _internvl2(config: dict[str, Any]) -> None:
    """OpenGVLab/InternVL3-1B-hf."""
    _rope(config["text_config"], factor=2.0, rope_type="dynamic", type="dynamic")
    config["text_config"] |= {"architectures": ["Qwen2ForCausalLM"], "sliding_window": None}


def _phi4_multimodal(config: dict[str, Any]) -> None:
    """microsoft/Phi-4-multimodal-instruct, refs/pr/70: the layout of transformers."""
    short, long = [1.0, 1.1, 1.3], [1.0, 2.5, 7.0]
    _rope(config, type="longrope", short_factor=short, long_factor=long)
    config |= {
        "partial_rotary_factor": 0.75,
        "original_max_position_embeddings": 1024,
        "max_position_embeddings": 8192,
        "sliding_window": 262144,
        "auto_map": {"AutoProcessor": "processing_phi4_multimodal.Phi4MultimodalProcessor"},
    }


def _qwen2_vl(config: dict[str, Any]) -> None:
    """Qwen/Qwen2-VL-2B-Instruct and Qwen/Qwen2.5-VL-3B-Instruct: the language model's keys lie
    beside the others."""
    text = config.pop("text_config")
    sections = text["rope_parameters"]["mrope_section"]
    _rope(text, type="mrope", mrope_section=sections)
    config |= {k: v for k, v in text.items() if k not in ("model_type", "pad_token_id")}
    config["vision_config"].pop("rope_parameters", None)
    config["vision_config"]["in_chans"] = config["vision_config"].pop("in_channels")
    config |= {"vision_token_id": 300, "use_sliding_window": False, "sliding_window": 32768}


def _mllama(config: dict[str, Any]) -> None:
    """meta-llama/Llama-3.2-11B-Vision-Instruct."""
    _rope(
        config["text_config"],
        factor=8.0,
        high_freq_factor=4.0,
        low_freq_factor=1.0,
        original_max_position_embeddings=128,
        rope_type="llama3",
    )
    config["text_config"]["eos_token_id"] = [2, 9]


def _llava_next(config: dict[str, Any]) -> None:
    """llava-hf/llava-v1.6-mistral-7b-hf."""
    _rope(config["text_config"])
    config["text_config"] |= {
        "_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2",
        "sliding_window": None,
    }
    config |= {"ignore_index": -100, "use_image_newline_parameter": True}


def _llava_onevision(config: dict[str, Any]) -> None:
    """llava-hf/llava-onevision-qwen2-0.5b-ov-hf."""
    _rope(config["text_config"])
    config["text_config"] |= {"use_sliding_window": False, "sliding_window": 32768}


def _fuyu(config: dict[str, Any]) -> None:
    """adept/fuyu-8b: every key of the language model stands twice."""
    _rope(config["text_config"])
    config["text_config"] |= {"rope_theta": 25000.0, "partial_rotary_factor": 0.5}
    config |= {k: v for k, v in config["text_config"].items() if k not in config}


def _plain(config: dict[str, Any]) -> None:
    """Salesforce/blip2-opt-2.7b, Salesforce/blip2-flan-t5-xl, microsoft/kosmos-2-patch14-224,
    google/deplot, facebook/nougat-base: no rotations."""


LAYOUTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "llava_next": _llava_next,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_vl,
    "llava_onevision": _llava_onevision,
    "internvl2": _internvl2,
    "gemma3": _gemma3,
    "kosmos2": _plain,
    "fuyu": _fuyu,
    "blip2": _plain,
    "blip2_t5": _plain,
    "deplot": _plain,
    "nougat": _plain,
    "mllama": _mllama,
    "phi4_multimodal": _phi4_multimodal,
}
"""Tiny model -> what makes its configuration that of a published one."""

TOWERS = ("llava_next", "llava_onevision", "gemma3")
"""Models whose towers had a ``vision_model`` inside."""
SPARE = {
    "llava_next": "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
    "blip2": "vision_model.embeddings.position_ids",
    "mllama": "language_model.model.rotary_emb.inv_freq",
}
"""Buffers that older versions stored."""


def publish(source: Path, target: Path, model: str) -> None:
    """Write a tiny model's directory anew, as its repository has it."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    config = _read(target / "config.json")
    LAYOUTS[model](config)
    for part in (config, *(part for part in config.values() if isinstance(part, dict))):
        if part.pop("dtype", None) or "model_type" in part:
            part["torch_dtype"] = "bfloat16"
    config["transformers_version"] = "4.46.3"
    _write(target / "config.json", config)

    tensors = {
        _old_name(name, model): tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(target / "model.safetensors").items()
    }
    if name := SPARE.get(model):
        tensors[name] = torch.arange(4)
    (target / "model.safetensors").unlink()
    names, shards = sorted(tensors), {}
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:]), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, target / shard, {"format": "pt"})
        shards |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    _write(target / "model.safetensors.index.json", index)

    # Until transformers 5 each processor had a file of its own.
    if (path := target / "processor_config.json").is_file():
        processor = _read(path)
        images = processor.pop("image_processor", {})
        name = processor["processor_class"]
        _write(target / "preprocessor_config.json", {**images, "processor_class": name})
        _write(path, processor)


def _old_name(name: str, model: str) -> str:
    if model in TOWERS:
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2))
