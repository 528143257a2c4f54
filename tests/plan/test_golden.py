"""Every plan that recipes offer, as one file: a digest of each, and what the usual ones run.

``make golden`` rewrites ``golden.txt``; its difference says which commands a change has touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.config.compose import Composer
from mmtrt.config.recipe import resolve
from mmtrt.errors import MmtrtError
from mmtrt.host import Gpu
from mmtrt.plan.assess import assess
from mmtrt.plan.build import make_plan
from mmtrt.report.plan_view import plan_json
from mmtrt.rules.check import find
from tests.every import recipe_data, recipe_names
from tests.worlds import HOST

FILE = Path(__file__).parent / "golden.txt"
COMPOSER = Composer()
BACKENDS = ("trtllm", "native", "fake")
GPUS = tuple(Gpu(i, "H100", f"GPU-{i}", 90, 80 << 30) for i in range(2))
MACHINE = replace(
    HOST, gpus=GPUS, ram_bytes=1 << 40, trtllm_examples="/examples", torch_cuda="13.0", cxx="c++"
)


def document(name: str, variant: str, quant: str, backend: str) -> dict[str, Any]:
    """Return ``mmtrt plan --json --symbolic``, for a machine that is the same everywhere."""
    words = [f"recipe={name}", f"variant={variant}", f"quant={quant}", f"backend={backend}"]
    composed = COMPOSER.compose(words)
    plan = make_plan(resolve(composed.settings, tuple(words), composed.where), MACHINE)
    return plan_json(assess(plan, Store(Path("/nowhere"))), find(plan), as_symbols=True)


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a machine, a store or a version of mmtrt decides."""
    stages = ("id", "kind", "argv", "env", "needs", "inputs", "outputs", "resources", "skip")
    return {
        "limits": {name: row["value"] for name, row in document["limits"].items()},
        "workload": document["workload"],
        "stages": [{k: row[k] for k in stages if k in row} for row in document["stages"]],
        "findings": sorted(row["code"] for row in document["findings"]),
    }


def lines(name: str) -> Iterator[str]:
    """Yield the part of one recipe."""
    data = recipe_data(name)
    for backend in BACKENDS:
        yield f"[{name} {backend}]"
        for variant in data["variants"]:
            for quant in data["quants"]:
                try:
                    plan = kept(document(name, variant, quant, backend))
                except MmtrtError as error:
                    yield f"{variant} {quant}: {error.code}"
                    continue
                digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:12]
                yield f"{variant} {quant}: {' '.join([digest, *plan['findings']])}"
                if backend != "fake" and variant == data["default_variant"] and quant == "none":
                    for row in plan["stages"]:
                        text = shlex.join(row["argv"]) if row["argv"] else f"# {row.get('skip')}"
                        yield "    " + f"{row['id']}: {text}".replace("\n", "\\n")
        yield ""


@pytest.mark.parametrize("name", recipe_names())
def test_plans_of_a_recipe_are_those_of_the_golden_file(name: str) -> None:
    if os.environ.get("MMTRT_GOLDEN"):
        pytest.skip("being rewritten")
    golden = FILE.read_text(encoding="utf-8").split("\n")
    mine = [i for i, line in enumerate(golden) if line.startswith(f"[{name} ")]
    after = [i for i, line in enumerate(golden) if line.startswith("[") and i > mine[-1]]
    expected = golden[mine[0] : after[0] if after else len(golden) - 1]
    assert list(lines(name)) == expected


@pytest.mark.skipif(not os.environ.get("MMTRT_GOLDEN"), reason="make golden rewrites the file")
def test_rewrite() -> None:
    text = "\n".join(line for name in recipe_names() for line in lines(name))
    FILE.write_text(text + "\n", encoding="utf-8")
