"""Optimisation profiles: which sizes a plan accepts, from the limits and the graph's own names.

A side that may change has a name in the ONNX file (``batch``, ``tokens``, ``rows``...). Each name
gets one range, so that all inputs agree; a product such as ``4*patches`` follows from its name.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.onnx_export import TensorSpec
from mmtrt.native.tensorrt_api import raise_all
from mmtrt.sizing.features.native_resolution import MAX_PATCH_ROWS

Range = tuple[int, int, int]
"""Smallest, tuned for, largest."""

# Side of a graph -> the limits that bound it, the first that the engine states. The smallest is 1;
# plans are tuned for the largest: the engines are sized for their workload, and a prefill is where
# tuned kernels count, while a decode step waits for memory. *Measured* with TensorRT-RTX 1.7.1: a
# second profile for the decode step makes the plans of the tiny LLaVA 50 to 60 % larger.
SIDES: Mapping[str, tuple[str, ...]] = {
    "batch": ("max_batch_size",),
    "images": ("max_batch_size",),
    "crops": ("max_batch_size",),
    "tokens": ("max_input_len", "max_seq_len"),
    "rows": ("max_multimodal_len",),
    "states": ("max_encoder_input_len",),
}

_PATCH_SIDES = ("patches", "squares")
"""Sides of graphs that take the patches of pictures of any size; a square is several patches."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of one input that a plan accepts."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    """What the plan is tuned for."""
    max: tuple[int, ...]

    def to_json(self) -> dict[str, list[int]]:
        """Return what ``config.json`` holds."""
        return {"min": [*self.min], "opt": [*self.opt], "max": [*self.max]}


Profile = Mapping[str, Shapes]
"""Input -> its shapes."""


def graph_io(onnx_path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return inputs and outputs of an ONNX file, weights not read.

    Raises:
        NativeError: ENG212, if the file is no ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(onnx_path, load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise NativeError(f"{onnx_path}: not an ONNX graph: {error}", code="ENG212") from error
    weights = {weight.name for weight in graph.initializer}
    inputs = [_spec(value) for value in graph.input if value.name not in weights]
    return inputs, [_spec(value) for value in graph.output]


def _spec(value: Any) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type)
    sides = tuple(side.dim_param or side.dim_value for side in kind.shape.dim)
    return TensorSpec(value.name, {"FLOAT": "float32"}.get(name, name.lower()), sides)


def profile_of(
    component: str,
    limits: Mapping[str, int],
    inputs: Sequence[TensorSpec],
) -> dict[str, Shapes]:
    """Return the profile that lets a plan serve everything within the limits.

    Raises:
        NativeError: ENG213, naming every side that no limit bounds.
    """
    ranges = {
        side: _up_to(limits[stated[0]])
        for side, bounds in SIDES.items()
        if (stated := [limit for limit in bounds if limit in limits])
    }
    for side in _PATCH_SIDES:
        ranges[side] = _up_to(_patches(side, inputs, limits.get("max_batch_size", 1)))
    unknown = {
        name: spec.name
        for spec in inputs
        for side in spec.shape
        if isinstance(side, str)
        for name in _names(side)
        if name not in ranges
    }
    raise_all(
        NativeError(
            f"input {spec}: nothing says how large its side {name!r} may be",
            code="ENG213",
            why=f"limits of this {component} engine: {', '.join(limits)}",
        )
        for name, spec in unknown.items()
    )
    return {
        spec.name: Shapes(*(_at(spec.shape, ranges, place) for place in range(3)))
        for spec in inputs
    }


def _up_to(largest: int) -> Range:
    # A limit of 0 stands for an input that is not used; it still takes one row.
    return 1, max(largest, 1), max(largest, 1)


def _patches(side: str, inputs: Sequence[TensorSpec], pictures: int) -> int:
    """Return the largest size of a side that counts patches.

    No limit counts them; ``max_batch_size`` counts shares of ``MAX_PATCH_ROWS``. They are those of
    one picture where pictures have a side of their own, else those of all.
    """
    shares, multiple = pictures, 1
    for spec in inputs:
        if side in spec.shape and "images" in spec.shape:
            shares = 1
        for each in spec.shape:
            if isinstance(each, str) and _names(each) == [side]:
                multiple = max(multiple, _value(each, {side: 1}))
    return shares * MAX_PATCH_ROWS // multiple


def _at(shape: Sequence[int | str], ranges: Mapping[str, Range], place: int) -> tuple[int, ...]:
    values = {name: sizes[place] for name, sizes in ranges.items()}
    return tuple(side if isinstance(side, int) else _value(side, values) for side in shape)


def check_profile(profile: Profile, inputs: Sequence[TensorSpec]) -> None:
    """Refuse a profile that contradicts itself or the graph, before a build finds out.

    Raises:
        NativeError: ENG213, with every contradiction.
    """
    raise_all(_contradictions(profile, inputs))


def _contradictions(profile: Profile, inputs: Sequence[TensorSpec]) -> Iterator[NativeError]:
    known = {spec.name for spec in inputs}
    for name in profile:
        if name not in known:
            yield _wrong(name, "the graph has no such input", f"its inputs: {', '.join(known)}")
    seen: dict[str, tuple[str, Range]] = {}
    for spec in inputs:
        shapes = profile.get(spec.name)
        if shapes is None:
            if any(isinstance(side, str) for side in spec.shape):
                yield _wrong(spec.name, "the profile lacks it", "its sides may change")
            continue
        if not len(shapes.min) == len(shapes.opt) == len(shapes.max) == len(spec.shape):
            yield _wrong(spec.name, f"the graph has {len(spec.shape)} sides, the profile has not")
            continue
        for index, side in enumerate(spec.shape):
            sizes = (shapes.min[index], shapes.opt[index], shapes.max[index])
            place = f"side {index}"
            if isinstance(side, int):
                if set(sizes) != {side}:
                    yield _wrong(spec.name, f"{place} is {side} in the graph, {sizes} here")
                continue
            if not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
                yield _wrong(
                    spec.name, f"{place} ({side}) is {sizes}", "1 <= min <= opt <= max is needed"
                )
            other, theirs = seen.setdefault(side, (spec.name, sizes))
            if theirs != sizes:
                yield _wrong(
                    spec.name,
                    f"{place} ({side}) is {sizes}, and {theirs} in {other}",
                    "a side of one name has one size in every input of a call",
                )


def _wrong(name: str, message: str, why: str | None = None) -> NativeError:
    return NativeError(f"profile of {name}: {message}", code="ENG213", why=why)


_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def _parsed(side: str) -> ast.expr:
    try:
        return ast.parse(side, mode="eval").body
    except SyntaxError as error:
        raise NativeError(f"a side of the graph is called {side!r}", code="ENG213") from error


def _names(side: str) -> list[str]:
    return [node.id for node in ast.walk(_parsed(side)) if isinstance(node, ast.Name)]


def _value(side: str, values: Mapping[str, int]) -> int:
    """Return the size of a side whose name may be arithmetic, as the exporter writes it."""

    def of(node: ast.expr) -> int:
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return int(_OPERATORS[type(node.op)](of(node.left), of(node.right)))
        raise NativeError(f"a side of the graph is called {side!r}", code="ENG213")

    return of(_parsed(side))
