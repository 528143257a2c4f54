"""Export a torch module as an ONNX file whose bytes depend on nothing but its contents.

Owns the exporter's settings, its noise, and what is taken out of the graph it returns: stack
traces and source paths, which would make the file differ from one checkout to the next.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"

# The newest that torch 2.9 to 2.13 emit by themselves; pinned, so that a new torch does not change
# what a stored engine needs from its runtime.
_OPSET = 20

# A protobuf file ends at 2 GiB. *Chosen* below it, to leave room for the graph itself.
_EXTERNAL_DATA_BYTES = 1_500_000_000

_NOISY = ("torch.onnx", "onnxscript", "onnx_ir")

# Smaller constants are not worth a Cast. *Chosen*.
_MIN_NARROW_ELEMENTS = 1024


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph as the engine's configuration tells it."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    """A name stands for a side that may change from call to call."""


@dataclass(frozen=True)
class ExportedGraph:
    """Files written, and what the graph takes and gives."""

    files: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int | None
    """``None`` where the files are no ONNX graph."""
    size_bytes: int


def export_onnx(
    module: Any,
    args: tuple[Any, ...],
    dynamic_shapes: tuple[Any, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    output_dir: Path,
    weight_dtype: str,
) -> ExportedGraph:
    """Trace a module and write ``model.onnx`` (and ``model.onnx.data`` when it is large).

    Args:
        module: a torch module in float32.
        args: example inputs; sides named in ``dynamic_shapes`` must be 2 or more, since the
            exporter takes 0 and 1 for constants.
        dynamic_shapes: as ``torch.export.export`` takes them.
        input_names: flat names, in the order of the flattened ``args``.
        output_names: flat names.
        output_dir: an existing directory.
        weight_dtype: type in which weights are stored when that loses nothing; arithmetic stays in
            float32.
    """
    import torch

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            args,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            input_names=list(input_names),
            output_names=list(output_names),
            opset_version=_OPSET,
            verbose=False,
        )
    model = program.model
    program.rename_axes(_side_names(model, dynamic_shapes))
    if weight_dtype != "float32":
        _narrow_weights(model, weight_dtype)
    _strip(model)
    files = _save(model, output_dir)
    return ExportedGraph(
        files=files,
        inputs=tuple(_spec(value) for value in model.graph.inputs),
        outputs=tuple(_spec(value) for value in model.graph.outputs),
        opset=_OPSET,
        size_bytes=sum((output_dir / name).stat().st_size for name in files),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself (torchvision, deprecations) off the terminal."""
    # Not logging.disable(): torch then goes on collecting its structured trace for nobody.
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _side_names(model: Any, dynamic_shapes: tuple[Any, ...]) -> dict[str, str]:
    """Return the exporter's name of each open side -> the name that it was given.

    torch 2.13 renames sides itself, but none at all where an argument is an empty list or
    dictionary: it takes that for an input.
    """
    names: dict[str, str] = {}
    for value, axes in zip(model.graph.inputs, _axes(dynamic_shapes), strict=True):
        for axis, dim in (axes or {}).items():
            old, new = str(value.shape[axis]), getattr(dim, "__name__", "")
            if old.isidentifier() and new.isidentifier() and old != new:
                names.setdefault(old, new)
    return names


def _axes(shapes: Any) -> Iterator[dict[int, Any] | None]:
    """Yield what ``dynamic_shapes`` says of each tensor, in the order of the graph's inputs."""
    if isinstance(shapes, dict) and any(isinstance(key, int) for key in shapes):
        yield shapes
    elif isinstance(shapes, (dict, list, tuple)):
        for each in shapes.values() if isinstance(shapes, dict) else shapes:
            yield from _axes(each)
    else:
        yield None


def _spec(value: Any) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) else str(side.value) for side in value.shape)
    name = {"FLOAT": "float32"}.get(value.dtype.name, value.dtype.name.lower())
    return TensorSpec(value.name, name, shape)


def _strip(model: Any) -> None:
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None


def _narrow_weights(model: Any, dtype: str) -> None:
    """Store float32 weights that came from a narrower type in that type, followed by a Cast.

    ONNX Runtime folds the Cast when it loads the file: half the size on disk, the same numbers.
    """
    import ml_dtypes
    import numpy as np
    import onnx_ir as ir

    narrow = np.dtype(np.float16 if dtype == "float16" else ml_dtypes.bfloat16)
    for name, value in list(model.graph.initializers.items()):
        if value.dtype != ir.DataType.FLOAT or value.const_value.size < _MIN_NARROW_ELEMENTS:
            continue
        wide = value.const_value.numpy()
        with np.errstate(over="ignore"):
            stored = wide.astype(narrow)
        if not np.array_equal(stored.astype(np.float32), wide):
            continue
        weight = ir.val(f"{name}.{dtype}", const_value=ir.tensor(stored, name=f"{name}.{dtype}"))
        cast = ir.node("Cast", [weight], attributes={"to": ir.DataType.FLOAT})
        cast.outputs[0].name = f"{name}.float32"
        cast.outputs[0].shape, cast.outputs[0].dtype = value.shape, value.dtype
        value.replace_all_uses_with(cast.outputs[0])
        del model.graph.initializers[name]
        model.graph.initializers.add(weight)
        model.graph.insert_before(model.graph[0], cast)


def _save(model: Any, output_dir: Path) -> tuple[str, ...]:
    import onnx_ir as ir

    weights = (value.const_value for value in model.graph.initializers.values())
    if sum(weight.nbytes for weight in weights) <= _EXTERNAL_DATA_BYTES:
        ir.save(model, output_dir / MODEL_FILE)
        return (MODEL_FILE,)
    ir.save(model, output_dir / MODEL_FILE, external_data=DATA_FILE)
    return (MODEL_FILE, DATA_FILE)
