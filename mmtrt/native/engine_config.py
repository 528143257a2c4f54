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
    Component,
    ComponentName,
    Quantization,
    SpecialTokens,
    weights_file,
)
from mmtrt.native.digests import digests
from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json, write_json
from mmtrt.native.onnx_export import MODEL_FILE, ExportedGraph
from mmtrt.native.tensorrt_api import PLAN_ENGINES, PLAN_FILE
from mmtrt.native.ties import AOT_ENGINE, Ties, ties_of

SCHEMA = 1
ENGINES = ("onnxruntime", *PLAN_ENGINES, AOT_ENGINE)
AOT_GRAPH = "graph.pt2"
"""The package of a vision encoder; a language model has several, told by ``aot.json``."""
_GRAPHS = {"onnxruntime": MODEL_FILE, AOT_ENGINE: "aot.json"}
"""Engine format -> the file without which there is none; a plan for all others."""
_TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "mmtrt")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What the runtime needs to know of an engine."""

    family: str
    component: ComponentName
    engine: str
    ties: Ties | None
    """``None`` in engines that were built before this was recorded."""
    limits: Mapping[str, int]
    hidden_size: int
    vocab_size: int
    num_visual_features: int
    image_size: tuple[int, int]
    special_tokens: SpecialTokens
    inputs: Sequence[Mapping[str, Any]]
    format: str | None = None
    """Number format of packed weights."""


def write_engine_config(
    output_dir: Path,
    component: Component,
    checkpoint_dir: Path,
    *,
    engine: str,
    limits: Mapping[str, int],
    graph: ExportedGraph,
    dtype: str | None = None,
    ties: Ties | None = None,
) -> None:
    """Write ``config.json`` beside the graph.

    Args:
        output_dir: where the graph is.
        component: what was built.
        checkpoint_dir: what it was built from.
        engine: engine format.
        limits: by name.
        graph: its files, inputs and outputs.
        dtype: what an engine stores and computes in; left out, it stores the component's type and
            computes in float32.
        ties: what it is tied to; left out, to ONNX Runtime.
    """
    ties = ties or ties_of("onnxruntime", "cpu", opset=graph.opset)
    write_json(
        output_dir / CONFIG_FILE,
        {
            "schema": SCHEMA,
            "family": component.family,
            "component": component.component,
            "engine": engine,
            "limits": dict(limits),
            "dtype": dtype or component.dtype,
            "compute_dtype": dtype or "float32",
            "tied_to": ties.to_json(),
            "quantization": _quantization(component.quantization, engine),
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
            "sources": digests(
                checkpoint_dir,
                [CONFIG_FILE, *(weights_file(rank) for rank in range(component.tp_size))],
            ),
        },
    )


def _quantization(packed: Quantization | None, engine: str) -> dict[str, Any] | None:
    if packed is None:
        return None
    return {
        "format": packed.format,
        "bits": packed.bits,
        "block_size": packed.block_size,
        # Only MatMulNBits has a choice of arithmetic.
        "accuracy_level": ACCURACY_LEVEL[packed.bits]
        if packed.block_size and engine != AOT_ENGINE
        else None,
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
    graph = _GRAPHS.get(document["engine"], PLAN_FILE)
    if not {graph, AOT_GRAPH}.intersection(document["files"]) or missing:
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
    names = (
        "family",
        "component",
        "engine",
        "limits",
        "hidden_size",
        "vocab_size",
        "num_visual_features",
    )
    height, width = document["image_size"]
    return EngineConfig(
        **{name: document[name] for name in names},
        ties=Ties.from_json(document["engine"], tied)
        if (tied := document.get("tied_to"))
        else None,
        image_size=(height, width),
        special_tokens=SpecialTokens.from_json(document["special_tokens"]),
        inputs=document["inputs"],
        format=(document.get("quantization") or {}).get("format"),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
