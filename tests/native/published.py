"""Put beside a tiny model what published ones have: chat templates, end tokens, processor files.

The templates are of the kinds that the families' published checkpoints have: some write the BOS
themselves, some a system message, some read a list of parts and some a string.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PARTS = (
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{ part['text'] }}"
    "{%- else -%}{{ MARKS[part['type']] }}{%- endif -%}{%- endfor -%}"
)
"""Goes through the parts of a message; strings are not foreseen."""


def chatml(image: str, video: str = "", system: str = "") -> str:
    """Qwen's kind: a system message where the conversation has none, no BOS."""
    return (
        marks(image, video)
        + "{%- for message in messages -%}"
        + "{%- if loop.first and message['role'] != 'system' -%}"
        + (f"<|im_start|>system\n{system}<|im_end|>\n" if system else "")
        + "{%- endif -%}<|im_start|>{{ message['role'] }}\n"
        + "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
        + PARTS
        + "{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
        + "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
    )


def marks(image: str, video: str = "") -> str:
    """Name what stands for a picture and for a video."""
    return "{%- set MARKS = " + repr({"image": image, "video": video}) + " -%}"


# Mistral's kind: BOS, and the turns between [INST] and [/INST].
INST = (
    marks("<image>\n")
    + "{{ bos_token }}{%- for message in messages -%}{%- if message['role'] == 'user' -%}"
    + "[INST] "
    + PARTS
    + " [/INST]{%- else -%}{{ message['content'] }}{{ eos_token }}{%- endif -%}{%- endfor -%}"
)
# Gemma's kind: BOS, and the assistant is called model.
GEMMA = (
    marks("<start_of_image>")
    + "{{ bos_token }}{%- for message in messages -%}"
    + "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    + "{{ '<start_of_turn>' + role + '\n' }}"
    + PARTS
    + "{{ '<end_of_turn>\n' }}{%- endfor -%}"
    + "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
# Llama 3's kind: BOS, headers, a date, trimmed texts.
HEADERS = (
    marks("<|image|>")
    + "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n"
    + "<|eot_id|>' }}{%- for message in messages -%}"
    + "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    + PARTS.replace("part['text'] }}", "part['text'] | trim }}")
    + "{{ '<|eot_id|>' }}{%- endfor -%}"
    + "{%- if add_generation_prompt -%}"
    + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif -%}"
)
# Phi's kind: strings are joined, so that a list of parts makes it fail.
STRINGS = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_QWEN = (
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<|vision_start|><|video_pad|><|vision_end|>",
)
TEMPLATES = {
    "llava_next": INST,
    "qwen2_vl": chatml(*_QWEN, system="You are a helpful assistant."),
    "qwen2_5_vl": chatml(*_QWEN, system="You are a helpful assistant."),
    "llava_onevision": chatml("<image>\n", "<video>\n"),
    "internvl2": chatml("<IMG_CONTEXT>\n", system="Be brief."),
    "gemma3": GEMMA,
    "mllama": HEADERS,
    "phi4_multimodal": STRINGS,
}
"""Tiny model to its chat template; the others' published checkpoints have none."""


def dress(directory: Path, model: str) -> None:
    """Write the files of an instruct checkpoint into a model's directory."""
    if model in TEMPLATES:
        (directory / "chat_template.jinja").write_text(TEMPLATES[model], encoding="utf-8")
    _edit(
        directory / "generation_config.json",
        # The end of a turn beside the end of a text, and settings of sampling.
        lambda config: {**config, "eos_token_id": [2, 9], "do_sample": True, "top_p": 0.9},
    )
    if model.startswith("qwen"):
        _edit(directory / "tokenizer_config.json", lambda config: {**config, "bos_token": None})
        _edit(directory / "tokenizer.json", lambda tokenizer: {**tokenizer, "post_processor": None})
    elif model == "mllama":
        _edit(directory / "tokenizer.json", _begin_with_bos)


def _begin_with_bos(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Let a tokenizer put a BOS before every text, as that of Llama 3 does."""
    (bos,) = (t for t in tokenizer["added_tokens"] if t["content"] == "<|begin_of_text|>")
    name = bos["content"]
    processor = tokenizer["post_processor"]
    single = [{"SpecialToken": {"id": name, "type_id": 0}}, *processor["single"]]
    special = {name: {"id": name, "ids": [bos["id"]], "tokens": [name]}}
    return {
        **tokenizer,
        "post_processor": {**processor, "single": single, "special_tokens": special},
    }


def flatten(directory: Path) -> None:
    """Move the settings of pictures to ``preprocessor_config.json``, where most published are."""

    def edit(processor: dict[str, Any]) -> dict[str, Any]:
        settings = processor.pop("image_processor")
        kind = settings["image_processor_type"].removesuffix("Pil")
        (directory / "preprocessor_config.json").write_text(
            json.dumps({**settings, "image_processor_type": kind})
        )
        return processor

    _edit(directory / "processor_config.json", edit)


def leave_a_stale_file(directory: Path) -> None:
    """Leave other settings of pictures in the file that transformers reads last."""
    nested = json.loads((directory / "processor_config.json").read_text())["image_processor"]
    stale = {**nested, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.9, 0.9]}
    (directory / "preprocessor_config.json").write_text(json.dumps(stale))


def _edit(path: Path, change: Any) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))), encoding="utf-8")
