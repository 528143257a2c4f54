"""Tell whether two engines are the same: limits, inputs, outputs, and what they compute.

Both are fed the same numbers, drawn from a seed. Engines that cannot be run here are compared by
their configuration alone, and the report says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.component import CONFIG_FILE
from mmtrt.native.errors import report
from mmtrt.native.flags import add_directory, stage_parser
from mmtrt.native.json_file import read_json, write_json
from mmtrt.native.onnx_export import MODEL_FILE

REPORT_FILE = "compare.json"
_SCHEMA = 1

_CONTRACT = (
    *("family", "component", "engine", "limits", "dtype", "compute_dtype", "quantization"),
    *("hidden_size", "vocab_size", "num_visual_features", "image_size", "special_tokens"),
    *("inputs", "outputs"),
)
"""What users of an engine rely on; versions and sources are told apart from it."""

TOLERANCE = 1e-4
"""Largest difference of an output, relative to its largest value (*chosen*: as much as the tests of
families allow between an engine and transformers)."""

_SIDES = {"batch": 1, "tokens": 8, "rows": 4}
"""What open sides become; others become 1."""


def compare(first: Path, second: Path, seed: int, tolerance: float) -> dict[str, Any]:
    """Return the report of two engine directories.

    Raises:
        NativeError: ART203, if one of them holds no engine.
    """
    configs = [
        read_json(each / CONFIG_FILE, code="ART203", what="an engine", fix="name an engine")
        for each in (first, second)
    ]
    contract = [
        {"field": name, "first": configs[0].get(name), "second": configs[1].get(name)}
        for name in _CONTRACT
        if configs[0].get(name) != configs[1].get(name)
    ]
    document: dict[str, Any] = {
        "schema": _SCHEMA,
        "contract": contract,
        "outputs": None,
        "not_run": None,
        "tolerance": tolerance,
        "seed": seed,
    }
    if not contract and configs[0].get("engine") == "onnxruntime":
        try:
            document["outputs"] = [*_outputs(first, second, configs[0], seed)]
        except _CannotRun as error:
            document["not_run"] = str(error)
    elif not contract:
        document["not_run"] = f"engines of {configs[0].get('engine')} are not run to be compared"
    worst = max((row["difference"] for row in document["outputs"] or ()), default=0.0)
    document["same"] = not contract and worst <= tolerance
    return document


class _CannotRun(Exception):
    """The made-up input is none that this graph takes."""


def _outputs(
    first: Path, second: Path, config: Mapping[str, Any], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield how far each output of the second engine is from that of the first."""
    import numpy as np
    import onnxruntime as ort
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

    sessions = [
        ort.InferenceSession(each / MODEL_FILE, providers=["CPUExecutionProvider"])
        for each in (first, second)
    ]
    feed = made_up(sessions[0].get_inputs(), int(config.get("vocab_size") or 2), seed)
    try:
        results = [session.run(None, feed) for session in sessions]
    except (InvalidArgument, RuntimeException, Fail) as error:
        raise _CannotRun(str(error).splitlines()[0]) from error
    for spec, one, other in zip(sessions[0].get_outputs(), *results):
        yield {"name": spec.name, "shape": list(one.shape), "difference": _distance(np, one, other)}


def _distance(np: Any, one: Any, other: Any) -> float:
    """Return the largest difference, relative to the largest value; infinite where only one ends.

    Arrays of other shapes, and numbers beside not-a-number, are infinitely apart.
    """
    if one.shape != other.shape:
        return float("inf")
    a, b = one.astype(np.float64), other.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    apart = np.abs(a[finite] - b[finite]).max(initial=0.0)
    scale = np.abs(a[finite]).max(initial=0.0)
    return float(apart / scale) if scale else float(apart)


def made_up(inputs: Sequence[Any], vocab_size: int, seed: int) -> dict[str, Any]:
    """Return arrays for the inputs of a graph, the same for the same seed.

    Args:
        inputs: name, type and shape of each, as ONNX Runtime tells them.
        vocab_size: ids are drawn below it.
        seed: of the random numbers.
    """
    import numpy as np

    types = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(int64)": np.int64,
        "tensor(int32)": np.int32,
        "tensor(bool)": np.bool_,
    }
    random = np.random.default_rng(seed)
    feed: dict[str, Any] = {}
    for spec in inputs:
        if spec.type not in types:
            raise _CannotRun(f"input {spec.name} is a {spec.type}")
        shape = [side if isinstance(side, int) else _SIDES.get(str(side), 1) for side in spec.shape]
        kind = types[spec.type]
        if kind is np.bool_:
            # A mask over the cache covers what the prompt fills, any other mask everything.
            value: Any = np.ones(shape, dtype=bool)
            if spec.name == "kv_mask":
                value[..., _SIDES["tokens"] :] = False
        elif spec.name == "ids":
            value = random.integers(0, vocab_size, shape, dtype=kind)
        elif spec.name == "positions":
            value = np.broadcast_to(np.arange(shape[-1], dtype=kind), shape).copy()
        elif np.issubdtype(kind, np.integer) or spec.name.startswith(("keys_", "values_")):
            value = np.zeros(shape, dtype=kind)
        else:
            value = random.standard_normal(shape).astype(kind)
        feed[spec.name] = value
    return feed


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; exit status 0 also for engines that differ, which the report tells."""
    parser = stage_parser("compare", __doc__)
    add_directory(parser, "--first", "an engine: config.json beside its graph")
    add_directory(parser, "--second", "the other engine")
    add_directory(parser, "--output-dir", f"where {REPORT_FILE} is written")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="T")
    return report(lambda: _run(parser.parse_args(argv)))


def _run(flags: argparse.Namespace) -> None:
    document = compare(flags.first, flags.second, flags.seed, flags.tolerance)
    flags.output_dir.mkdir(parents=True, exist_ok=True)
    try:
        json.dumps(document, allow_nan=False)
    except ValueError:  # JSON knows no infinity
        for row in document["outputs"]:
            row["difference"] = min(row["difference"], 1e308)
    write_json(flags.output_dir / REPORT_FILE, document)


if __name__ == "__main__":
    raise SystemExit(main())
