"""``config.json`` of an engine: what it is, its limits, what it takes, what it was made from.

Holds no time, no host and no absolute path, so that equal builds give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmtrt.native.block_quantization import ACCURACY_LEVEL
from mmtrt.native.component import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Component,
    ComponentName,
    Quantization,
    SpecialTokens,
)
from mmtrt.native.digests import digests
from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json, write_json
from mmtrt.native.onnx_export import MODEL_FILE, ExportedGraph
from mmtrt.native.tensorrt_api import PLAN_ENGINES, PLAN_FILE

SCHEMA = 1
ENGINES = ("onnxruntime", *PLAN_ENGINES)
_TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "mmtrt")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the runtime needs to know of an engine."""

    family: str
    component: ComponentName
    limits: Mapping[str, int]
    hidden_size: int
    vocab_size: int
    num_visual_features: int
    image_size: tuple[int, int]
    special_tokens: SpecialTokens
    inputs: Sequence[Mapping[str, Any]]


def write_engine_config(
    output_dir: Path,
    component: Component,
    checkpoint_dir: Path,
    *,
    engine: str,
    limits: Mapping[str, int],
    graph: ExportedGraph,
) -> None:
    """Write ``config.json`` beside the graph."""
    write_json(
        output_dir / CONFIG_FILE,
        {
            "schema": SCHEMA,
            "family": component.family,
            "component": component.component,
            "engine": engine,
            "limits": dict(limits),
            "dtype": component.dtype,
            "compute_dtype": "float32",
            "quantization": _quantization(component.quantization),
            "hidden_size": component.hidden_size,
            "vocab_size": component.vocab_size,
            "num_visual_features": component.num_visual_features,
            "image_size": list(component.image_size),
            "special_tokens": asdict(component.special_tokens),
            "image_token_id": component.special_tokens.image,
            "opset": graph.opset,
            "files": list(graph.files),
            "inputs": [asdict(spec) for spec in graph.inputs],
            "outputs": [asdict(spec) for spec in graph.outputs],
            "versions": {tool: _version(tool) for tool in _TOOLS},
            "sources": digests(checkpoint_dir, [CONFIG_FILE, WEIGHTS_FILE]),
        },
    )


def _quantization(packed: Quantization | None) -> dict[str, Any] | None:
    if packed is None:
        return None
    return {
        "format": packed.format,
        "bits": packed.bits,
        "block_size": packed.block_size,
        "accuracy_level": ACCURACY_LEVEL[packed.bits],
    }


def read_engine_config(directory: Path, expected: ComponentName) -> EngineConfig:
    """Read ``config.json`` of an engine.

    Raises:
        NativeError: ART203, if the directory holds no engine of this component that this version
            of the runtime can read.
    """
    document = read_json(
        directory / CONFIG_FILE,
        code="ART203",
        what=f"the {expected} engine",
        fix="give --engine-dir a directory with the engines of build_llm and build_vision as llm/ "
        "and vision/",
    )
    wanted = {"schema": SCHEMA, "component": expected}
    for key, value in wanted.items():
        if document.get(key) != value:
            raise NativeError(
                f"{directory / CONFIG_FILE}: {key} is {document.get(key)!r}, {value!r} is needed",
                code="ART203",
                fix=f"build the {expected} engine again",
            )
    if document.get("engine") not in ENGINES:
        raise NativeError(
            f"{directory / CONFIG_FILE}: cannot run engine {document.get('engine')!r}",
            code="ART203",
            why=f"this runtime runs: {', '.join(ENGINES)}",
        )
    if "files" not in document:
        raise NativeError(f"{directory / CONFIG_FILE}: names no files", code="ART203")
    missing = [name for name in document["files"] if not (directory / name).is_file()]
    graph = PLAN_FILE if document["engine"] in PLAN_ENGINES else MODEL_FILE
    if graph not in document["files"] or missing:
        raise NativeError(
            f"{directory / (missing or [graph])[0]}: no such file",
            code="ART203",
            fix=f"build the {expected} engine again",
        )
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise NativeError(
            f"{directory / CONFIG_FILE}: incomplete or damaged: {error!r}",
            code="ART203",
            fix=f"build the {expected} engine again",
        ) from error


def _parse(document: dict[str, Any]) -> EngineConfig:
    names = ("family", "component", "limits", "hidden_size", "vocab_size", "num_visual_features")
    height, width = document["image_size"]
    return EngineConfig(
        **{name: document[name] for name in names},
        image_size=(height, width),
        special_tokens=SpecialTokens.from_json(document["special_tokens"]),
        inputs=document["inputs"],
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
