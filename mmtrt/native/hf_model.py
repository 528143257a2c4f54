"""A Hugging Face model directory: its configuration and where each tensor's bytes are.

Reads ``config.json`` and safetensors headers; never unpickles anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.config.generation import FILE, own_settings
from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json
from mmtrt.native.safetensors_file import StoredTensor, read_header
from mmtrt.sizing.weights import INDEX, WHOLE, chosen_file

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True)
class HfModel:
    """A model directory as a stage sees it."""

    directory: Path
    config: dict[str, Any]
    generation_config: dict[str, Any]
    """Empty where the model has none."""
    tensors: dict[str, StoredTensor]


def open_model(directory: Path) -> HfModel:
    """Read the configuration and the headers of all weight files.

    Raises:
        NativeError: MDL201 no such model; MDL203 no safetensors weights; MDL204 a listed shard or
            tensor is missing; MDL205 a damaged file.
    """
    config = read_config(directory)
    generation = directory / FILE
    return HfModel(
        directory,
        config,
        read_json(generation, code="MDL201", what="the model's generation settings")
        if generation.is_file()
        else {},
        _tensors(directory, config),
    )


def generation_settings(directory: Path) -> dict[str, Any]:
    """Return the generation settings of a model that change its answers.

    Raises:
        NativeError: MDL201, if its ``config.json`` or ``generation_config.json`` cannot be read.
    """
    generation = directory / FILE
    what = "the model's generation settings"
    return own_settings(
        read_config(directory),
        read_json(generation, code="MDL201", what=what) if generation.is_file() else None,
    )


def read_config(directory: Path) -> dict[str, Any]:
    """Return ``config.json`` of a model directory.

    Raises:
        NativeError: MDL201, if there is none.
    """
    if not directory.is_dir():
        raise NativeError(f"{directory}: no such directory", code="MDL201", fix="check --model-dir")
    return read_json(
        directory / "config.json",
        code="MDL201",
        what="the model's configuration",
        fix="give --model-dir a Hugging Face model directory",
    )


def _tensors(directory: Path, config: dict[str, Any]) -> dict[str, StoredTensor]:
    """Return the tensors of the one set of weights that transformers loads."""
    chosen = chosen_file([path.name for path in directory.iterdir()], config)
    if chosen is None:
        raise _no_weights(directory)
    if not chosen.endswith(".json"):
        return read_header(directory / chosen)
    index = read_json(directory / chosen, code="MDL204", what="the list of weight shards")
    weight_map: dict[str, str] = index.get("weight_map") or {}
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(weight_map.values())):
        # The index is downloaded data: it must not lead out of the model's directory.
        if Path(shard).name != shard or not (directory / shard).is_file():
            raise NativeError(
                f"{directory}: the weight shard {shard} is missing",
                code="MDL204",
                why=f"{chosen} lists it",
                fix="finish the download of the model",
            )
        header = read_header(directory / shard)
        wanted = [name for name, place in weight_map.items() if place == shard]
        absent = [name for name in wanted if name not in header]
        if absent:
            raise NativeError(f"{directory / shard}: {absent[0]} is missing", code="MDL204")
        # Of a shard transformers loads all, whatever the index says.
        tensors |= header
    return tensors


def _no_weights(directory: Path) -> NativeError:
    pickled = sorted(path.name for pattern in _PICKLED for path in directory.glob(pattern))
    if pickled:
        return NativeError(
            f"{directory}: the weights are only there as {pickled[0]}",
            code="MDL203",
            why="unpickling a downloaded file can run any program",
            fix="save the model with safe_serialization=True, or take a revision with safetensors",
        )
    return NativeError(
        f"{directory}: neither {WHOLE} nor {INDEX}",
        code="MDL203",
        fix="give --model-dir a directory that holds the weights",
    )
