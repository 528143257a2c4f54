"""Flag packages in other versions than TensorRT-LLM pins.

## What it checks
The requirements of environments in which TensorRT-LLM's scripts run, files of its examples that
can be read here among them, and what is installed beside TensorRT-LLM on this host.

## Why it matters
The scripts import ``tensorrt_llm``, which breaks with another transformers or modelopt: at the
first import, or when a model is loaded.

## Example
    mmtrt check recipe=internvl2 'recipe.stages.env.requirements=["transformers==4.37.2"]'

## Use instead
    mmtrt check recipe=internvl2

## Source
TensorRT-LLM 1.2 ``requirements.txt`` and its release notes; issues 858, 3564, 2638 and 1441.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmtrt.backends.versions import is_within
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding
from mmtrt.stages import Env

PINS = {
    "1.2": {
        "transformers": "==4.57.1",
        "nvidia-modelopt": ">=0.37.0,<0.38",
        "datasets": "==3.1.0",
        "numpy": "<2",
    },
    "1.2.1": {"transformers": "==4.57.3"},
}
"""TensorRT-LLM version, or the beginning of one -> package -> what it pins; the longest counts."""

NEEDED = {"1.2": {"transformers": ">=4.56.0"}}
"""Likewise, what it cannot be imported without: ``_torch/models`` imports ``SeedOssConfig``, which
transformers has since 4.56.0."""

TOOL = "tensorrt-llm"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a finding for every package that a pin excludes: an error where nothing would start."""
    if plan.choice.backend.name != "trtllm":
        return
    yield from _required(plan)
    yield from _installed(plan)


def _required(plan: Plan) -> Iterator[Finding]:
    recipe = plan.recipe
    version = recipe.settings.trtllm.version
    pins, needed = _of(PINS, version), _of(NEEDED, version)
    users = {
        need for n in plan.active() if n.command and TOOL in n.command.tools for need in n.needs
    }
    for node in plan.active():
        if not isinstance(node.stage, Env) or node.id not in users:
            continue
        lines = [line for each in node.stage.requirements for line in _lines(plan, each)]
        wrong = []
        for line in lines:
            name, asked = _split(line)
            if name in pins and asked and not _agree(asked, pins[name]):
                wrong.append((line, name, asked))
        bad = {line for line, _, _ in wrong}
        rest = ",".join(json.dumps(line) for line in lines if line not in bad)
        for _, name, asked in wrong:
            is_fatal = not _agree(asked, needed.get(name, ""))
            why = "its scripts import tensorrt_llm in that environment"
            yield Finding(
                code="ENV102",
                severity="error" if is_fatal else "warning",
                message=f"stage {node.id} installs {name}{asked}, "
                f"TensorRT-LLM {version} pins {name}{pins[name]}",
                at=recipe.where(("recipe", "stages", node.id, "requirements")),
                why=f"{why}, which fails without {name}{needed[name]}" if is_fatal else why,
                fix=shlex.quote(f"recipe.stages.{node.id}.requirements=[{rest}]"),
            )


def _installed(plan: Plan) -> Iterator[Finding]:
    host = plan.choice.host
    version = host.version(TOOL)
    if version is None:
        return
    for name, pin in _of(PINS, version).items():
        found = host.version(name)
        if found is not None and not is_within(found, pin):
            yield Finding(
                code="ENV102",
                severity="warning",
                message=f"{name} {found} is installed, TensorRT-LLM {version} pins {name}{pin}",
                at="",
                why="its scripts import both",
                fix=f"pip install {shlex.quote(name + pin)}",
            )


def _of(table: Mapping[str, Mapping[str, str]], version: str) -> dict[str, str]:
    """Return what a table says of a version: its own row over that of its major.minor."""
    rows = [table[key] for key in sorted(table, key=len) if f"{version}.".startswith(f"{key}.")]
    return {name: pin for row in rows for name, pin in row.items()}


def _lines(plan: Plan, requirement: str) -> list[str]:
    """Return a requirement, or those in its file where that can be read."""
    file = requirement.removeprefix("{examples}/")
    if file == requirement:
        return [requirement]
    host = plan.choice.host
    root = plan.recipe.settings.trtllm.examples_dir
    if root is None and host.lookup:  # else it is another machine's
        root = host.trtllm_examples
    try:
        text = Path(root, file).read_text(encoding="utf-8") if root else requirement
    except (OSError, ValueError):
        return [requirement]
    found = [re.split(r"\s+#|^#", line)[0].strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("-")]


def _split(line: str) -> tuple[str, str]:
    """Return the package of a requirement and its condition as :func:`is_within` reads it."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*([<>=!~][^;#@]*)?", line)
    if found is None:
        return "", ""
    name = re.sub(r"[-_.]+", "-", found[1]).lower()
    parts = [_plain(part) for part in (found[2] or "").replace(" ", "").split(",")]
    return name, ",".join(part for part in parts if part)


def _plain(condition: str) -> str:
    """Return ``~=`` and ``.*`` in other words, nothing for what is no number."""
    condition = condition.removesuffix(".*").replace("===", "==")
    if condition.startswith("~="):
        numbers = condition[2:].split(".")
        if len(numbers) > 1 and all(number.isdigit() for number in numbers):
            above = [*numbers[:-2], str(int(numbers[-2]) + 1)]
            return f">={'.'.join(numbers)},<{'.'.join(above)}"
    return condition if re.fullmatch(r"(<=|>=|==|!=|<|>)[\d.]+", condition) else ""


def _agree(asked: str, pin: str) -> bool:
    """Return whether some version meets both: one that they name, or one just above it."""
    both = ",".join(part for part in (asked, pin) if part)
    named = re.findall(r"(?:==|>=|>)([\d.]+)", both)
    tried = [*named, *(f"{version}.0.1" for version in named)]
    return not tried or any(is_within(each, both) for each in tried)
