"""Read a model's directory as the tools do: ``config.json``, numbers of the text part, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.fake import families, files, settings
from mmtrt.fake.failure import ToolFailure, require

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.nemo")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model")

INSIDE = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "opt": "OPTForCausalLM",
    "t5": "T5ForConditionalGeneration",
}
"""``model_type`` of a language model's part of ``config.json`` -> its architecture."""


@dataclass(frozen=True)
class Model:
    """A checkpoint of a hub, or a ``.nemo`` file."""

    path: str
    """As it stood on the command line: some tools look for words in it."""
    config: Mapping[str, Any]
    family: str | None
    facts: Mapping[str, Any]

    @property
    def hf_type(self) -> str:
        """``model_type``, else the architecture."""
        return str(self.config.get("model_type") or self.architecture)

    @property
    def architecture(self) -> str:
        """``architectures[0]``."""
        return str((self.config.get("architectures") or [""])[0])

    @property
    def text(self) -> Mapping[str, Any]:
        """The part of ``config.json`` that describes the language model."""
        for key in ("text_config", "llm_config", "llm_cfg", "decoder", "language_config"):
            if isinstance(self.config.get(key), dict):
                found: Mapping[str, Any] = self.config[key]
                return found
        return self.config

    @property
    def language_model(self) -> str:
        """Architecture of the language model inside."""
        stated = self.text.get("architectures") or [None]
        return str(stated[0] or INSIDE.get(str(self.text.get("model_type"))) or self.architecture)

    def number(self, name: str) -> int | None:
        """Return a number of the language model, ``None`` if nobody says it."""
        for place in (self.facts, self.text, self.config):
            if isinstance(place.get(name), int):
                return int(place[name])
        return None

    def digest(self) -> str:
        """Return the digest of everything that lies in the directory."""
        return files.content_digest(Path(self.path))


def load(path: str | None, *, weights: bool = False) -> Model:
    """Read a model's directory.

    Args:
        path: as it stands on the command line.
        weights: whether the tool loads them, too.

    Raises:
        ToolFailure: if it is missing, or its weights are, or cannot be read.
    """
    if path is None:
        raise ToolFailure("ValueError", "no model directory was given")
    place = Path(path)
    config_file = place / "config.json"
    if not config_file.is_file():
        raise ToolFailure(
            "OSError",
            f"{path} does not appear to have a file named config.json. Checkout "
            f"'https://huggingface.co/{path}/tree/main' for available files.",
        )
    for pattern in WEIGHTS:
        for file in sorted(place.glob(pattern)):
            if files.is_lfs_pointer(file):
                raise ToolFailure(
                    "safetensors_rust.SafetensorError",
                    f"Error while deserializing header: HeaderTooLarge ({file.name} is a "
                    "git-lfs pointer)",
                )
    if weights:
        _require_weights(place)
    config = files.read_json(config_file)
    played = settings.read()
    facts = {**config.get("facts", {}), **played.facts}
    return Model(path, config, families.of_config(config) or played.family, facts)


def _require_weights(place: Path) -> None:
    """Stop unless the weights are there and every safetensors file is whole."""
    found = [file for pattern in WEIGHTS for file in sorted(place.rglob(pattern))]
    require(found, "OSError", f"Error no file named model.safetensors found in directory {place}.")
    for index in sorted(place.rglob("*.index.json")):
        for name in sorted(set(files.read_json(index).get("weight_map", {}).values())):
            shard = index.parent / name
            missing = f"{place} does not appear to have a file named {name}"
            require(shard.is_file(), "OSError", missing)
    for file in found:
        if file.suffix == ".safetensors":
            why = files.damage(file)
            what = f"Error while deserializing header: {why} ({file.name})"
            require(not why, "safetensors_rust.SafetensorError", what)


def load_nemo(path: str) -> Model:
    """Read a ``.nemo`` file; what it holds is told by the environment.

    Raises:
        ToolFailure: if it is no file.
    """
    if not Path(path).is_file():
        raise ToolFailure("FileNotFoundError", f"[Errno 2] No such file or directory: '{path}'")
    played = settings.read()
    return Model(path, {}, played.family, played.facts)


def require_tokenizer(path: str) -> None:
    """Stop unless a directory holds a tokenizer."""
    if any((Path(path) / name).is_file() for name in TOKENIZERS):
        return
    raise ToolFailure(
        "OSError",
        f"Can't load tokenizer for '{path}'. If you were trying to load it from "
        "'https://huggingface.co/models', make sure you don't have a local directory with the "
        f"same name. Otherwise, make sure '{path}' is the correct path to a directory containing "
        "all relevant files for a tokenizer.",
    )


def require_vila_code(path: str) -> None:
    """Stop unless the code of VILA lies beside the model.

    Source: the tools append ``<model_dir>/../VILA`` to ``sys.path`` and import ``llava``.
    """
    code = os.path.join(path, "..", "VILA", "llava")  # noqa: PTH118 (the system resolves links)
    require(Path(code).is_dir(), "ModuleNotFoundError", "No module named 'llava'")
