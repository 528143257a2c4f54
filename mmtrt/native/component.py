"""One component of a checkpoint: its directory, its configuration.

A model has ``vision`` and ``llm``; one that reads and writes apart has ``encoder`` and ``decoder``
in the place of ``llm``, or only ``decoder`` where what it reads is the picture; one that listens
has ``audio``, which lies in ``vision/audio`` since one stage builds both engines. A component
directory holds ``config.json`` and ``rank0.safetensors``, or one such file for each rank that the
language model is split between; stages after ``convert`` read nothing else of the model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json, write_json

SCHEMA = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "rank0.safetensors"


def weights_file(rank: int) -> str:
    """Return the name of a rank's weights, which is that of TensorRT-LLM."""
    return f"rank{rank}.safetensors"


ComponentName = Literal["llm", "encoder", "decoder", "vision", "audio"]


def place_of(component: ComponentName) -> str:
    """Return where a component lies below a checkpoint."""
    return "vision/audio" if component == "audio" else component


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Token ids with a meaning; ``None`` or empty where the model names none."""

    image: int | None = None
    bos: int | None = None
    pad: int | None = None
    eos: tuple[int, ...] = ()
    start: int | None = None
    """What a decoder writes after; ``None`` where the prompt itself is continued."""
    forced_eos: int | None = None
    """The last token of an answer that reaches ``max_new_tokens``."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SpecialTokens:
        """Read what ``asdict`` wrote."""
        return cls(**{**document, "eos": tuple(document.get("eos", ()))})


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the linear weights of a component are packed."""

    format: str
    bits: int
    block_size: int
    """Weights along the input side that share one scale; 0: all that make one output."""
    modules: tuple[str, ...]
    """Linear modules that are packed, by their path in the checkpoint, sorted."""
    scaled: tuple[str, ...] = ()
    """Those whose inputs are multiplied by a ``pre_quant_scale``, which their weights undo."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """``config.json`` of a component."""

    family: str
    component: ComponentName
    dtype: str
    """Type of the stored weights; quantized ones apart."""
    hf_config: dict[str, Any]
    """The part of the model's own ``config.json`` that builds this component."""
    vocab_size: int
    hidden_size: int
    """Hidden size of the language model, which is also the width of the visual features."""
    num_visual_features: int
    """Rows of the prompt table that one image needs; 0 where that depends on the image."""
    image_size: tuple[int, int]
    """Height and width in pixels of what the vision engine sees at once; 0 where any will do."""
    special_tokens: SpecialTokens
    tie_word_embeddings: bool
    quantization: Quantization | None = None
    tp_size: int = 1
    """Ranks that the weights are split between; see ``tensor_split``."""

    def write(self, directory: Path) -> None:
        """Write ``config.json`` into an existing directory."""
        document = {"schema": SCHEMA, **asdict(self), "image_token_id": self.special_tokens.image}
        if self.tp_size == 1:
            # Says nothing, and engines are keyed by these bytes.
            del document["tp_size"]
        write_json(directory / CONFIG_FILE, document)


def read_component(directory: Path, *expected: ComponentName) -> Component:
    """Read the ``config.json`` of a directory that must hold one of the expected components.

    Raises:
        NativeError: ART201 no checkpoint component there; ART202 the other component, or a schema
            that this version does not know.
    """
    wanted = " or ".join(expected)
    document = read_json(
        directory / CONFIG_FILE,
        code="ART201",
        what=f"the {wanted} component of a checkpoint",
        fix=f"give --checkpoint-dir the {wanted} directory that convert wrote"
        + "".join(f": {directory / name}" for name in expected if (directory / name).is_dir()),
    )
    if document.get("schema") != SCHEMA or "component" not in document:
        raise NativeError(
            f"{directory / CONFIG_FILE}: not a checkpoint component of schema {SCHEMA}",
            code="ART202",
            fix="write the checkpoint again with mmtrt.native.convert",
        )
    if document["component"] not in expected:
        raise NativeError(
            f"{directory}: holds the {document['component']} component, {wanted} is needed",
            code="ART202",
        )
    document.setdefault("tp_size", 1)
    for rank in range(document["tp_size"]):
        if not (directory / weights_file(rank)).is_file():
            raise NativeError(f"{directory / weights_file(rank)}: no such file", code="ART201")
    absent = [field.name for field in fields(Component) if field.name not in document]
    if absent:
        raise NativeError(f"{directory / CONFIG_FILE}: lacks {absent[0]}", code="ART202")
    known = {field.name: document[field.name] for field in fields(Component)}
    packed = known.pop("quantization")
    known["special_tokens"] = SpecialTokens.from_json(known["special_tokens"])
    known["image_size"] = tuple(known["image_size"])
    if packed:
        for name in ("modules", "scaled"):
            packed[name] = tuple(packed.get(name, ()))
    return Component(**known, quantization=Quantization(**packed) if packed else None)
