"""``docs/what_runs_where.md`` from what tests found: ``python -m tests.matrix_page``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmtrt.backends import aot_engines, plan_engines
from mmtrt.backends.native import Native
from mmtrt.backends.native_quant import FLOAT8
from mmtrt.report import markdown as md
from tests.every import recipe_data, recipe_names
from tests.worlds import ROOT

RESULTS = ROOT / "docs/what_runs_where.json"
PAGE = ROOT / "docs/what_runs_where.md"

WORDS = {"passed": "yes", "failed": "**fails**"}
UNKNOWN, NEVER = "not run", "never here"

QUANTS = (*(name for name in Native.formats if name != "none"), FLOAT8)
"""Number formats of any engine."""
FORMATS: dict[str, tuple[str, ...]] = {
    "onnxruntime": Native.formats,
    "aot_inductor": aot_engines.FORMATS,
    "tensorrt_rtx": plan_engines.FORMATS,
}
"""Engine format -> number formats that it is offered with."""
WITH_RANKS = ("aot_inductor",)
"""Engine formats that several ranks can share; ``build_llm`` refuses the others (PAR205)."""

NOTES = {
    "onnxruntime": """Built and run on a CPU. "exact": the same greedy tokens as transformers for
batches of 1 to 3 with prompts and pictures of different sizes, and logits that differ by less than
1e-4 at every step.""",
    "aot_inductor": """Built and run on a CPU, in float32; the vision encoder stays with ONNX
Runtime there. A number format is "yes" if it is exact: tokens and logits are those of transformers
with the weights that the packed ones stand for, within 1e-4. On GPUs nothing is tried by these
tests: what was measured on one stands in [benchmarks](benchmarks.md).""",
    "tensorrt_rtx": """Plans are built for compute capability 89 on a machine without a GPU. No plan
was ever executed: see [TensorRT plans](tensorrt_plans.md). `engine=tensorrt` builds on a GPU alone
and was not tried at all.""",
}

HEAD = """\
# What runs where

<!-- Written by `make matrix` from what its tests found; docs/what_runs_where.json holds it. -->

Every cell was filled by a test on the tiny model of the family: its architecture is that of the
published one, its size is not. The tiny LLaVA is trained, all others are random.

* **yes**: tests of it passed. **no**: it is refused, with the code that says so, or not offered.
* **fails**: a test of it failed. **not run**: no test of it ran. **never here**: no machine that
  tests run on can.
* "run": answers, limits that hold as stated, and `result.json`. "eval": the same accuracy as
  transformers, and the same tokens for every question.
* A number format is "yes" if the first logits point where those of the engine without it do, or as
  is said below: cosine above 0.95, with four bits above 0.6, since small random matrices lose much
  to them. Accuracy is measured on a trained model: see [benchmarks](benchmarks.md).
"""

TAIL = """\
## Everything else

`backend=trtllm` is checked against stand-ins of TensorRT-LLM's tools, which compute nothing: which
recipe offers what there stands on the [recipes' pages](recipes/README.md). These recipes have no
native engine:
"""


def native_variants() -> Iterator[tuple[str, str]]:
    """Yield (recipe, variant) of every model that a recipe makes for native engines."""
    for name in recipe_names():
        for variant, entry in recipe_data(name)["variants"].items():
            if entry.get("backend") == "native":
                yield name, variant


def columns() -> list[str]:
    """Return what is shown of each model."""
    return ["build", "run", "exact", *QUANTS, "eval", "tp"]


def page(results: dict[str, Any]) -> str:
    """Return the page."""
    cells = {
        (row["recipe"], row["variant"], row["engine"], row["column"]): row
        for row in results["cells"]
    }
    tools = ", ".join(f"{tool} {version}" for tool, version in sorted(results["versions"].items()))
    parts = [HEAD, f"Versions: {tools}.\n"]
    for engine, note in NOTES.items():
        rows = [
            (f"`{recipe}`", f"`{variant}`")
            + tuple(_cell(cells, recipe, variant, engine, column) for column in columns())
            for recipe, variant in native_variants()
        ]
        table = md.table(("recipe", "variant", *columns()), rows)
        parts += [f"## engine={engine}\n", f"{note}\n", f"{table}\n"]
    reasons = [
        f"* `{name}`: {recipe_data(name)['not_native']}"
        for name in recipe_names()
        if "native" not in recipe_data(name)["backends"]
    ]
    return "\n".join([*parts, TAIL, *reasons]) + "\n"


def _cell(cells: dict[Any, Any], recipe: str, variant: str, engine: str, column: str) -> str:
    found = cells.get((recipe, variant, engine, column))
    if found is not None and found["outcome"] == "refused":
        return f"no ({found['detail'].partition(':')[0]})"
    if found is not None:
        return WORDS[found["outcome"]]
    if column in QUANTS and column not in FORMATS[engine]:
        return "no"
    if column == "tp" and engine not in WITH_RANKS:
        return "no"
    built = cells.get((recipe, variant, engine, "build"))
    if built is not None and built["outcome"] == "refused":
        return f"no ({built['detail'].partition(':')[0]})"
    return NEVER if engine == "tensorrt_rtx" and column != "build" else UNKNOWN


def main() -> None:
    PAGE.write_text(page(json.loads(RESULTS.read_text())), encoding="utf-8")
    print(f"wrote {Path(PAGE).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
