"""Flag packages in other versions than TensorRT-LLM pins.

## What it checks
The requirements of environments in which TensorRT-LLM's scripts run, files of its examples that
can be read here among them, and what is installed beside TensorRT-LLM on this host.

## Why it matters
The scripts import ``tensorrt_llm``, which breaks with another transformers or modelopt: at the
first import, or when a model is loaded.

## Example
    mmtrt check recipe=internvl2 recipe.stages.env.trtllm_version=null

## Use instead
    mmtrt check recipe=internvl2

## Source
TensorRT-LLM 1.2 ``requirements.txt``; issues 858, 3564, 2638 and 1441.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
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
}
"""TensorRT-LLM major.minor -> package -> what it pins."""

TOOL = "tensorrt-llm"


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning for every package that a pin excludes."""
    if plan.choice.backend.name != "trtllm":
        return
    yield from _required(plan)
    yield from _installed(plan)


def _required(plan: Plan) -> Iterator[Finding]:
    recipe = plan.recipe
    pins = _pins(recipe.settings.trtllm.version)
    users = {
        need for n in plan.active() if n.command and TOOL in n.command.tools for need in n.needs
    }
    for node in plan.active():
        if not isinstance(node.stage, Env) or node.id not in users:
            continue
        wanted = node.stage.requirements
        for requirement in wanted:
            for line in _lines(plan, requirement):
                name, asked = _split(line)
                if name not in pins or not asked or _agree(asked, pins[name]):
                    continue
                rest = ",".join(json.dumps(each) for each in wanted if each != requirement)
                yield Finding(
                    code="ENV102",
                    severity="warning",
                    message=f"stage {node.id} installs {name}{asked}, "
                    f"TensorRT-LLM {recipe.settings.trtllm.version} pins {name}{pins[name]}",
                    at=recipe.where(("recipe", "stages", node.id, "requirements")),
                    why="its scripts import tensorrt_llm in that environment",
                    fix=shlex.quote(f"recipe.stages.{node.id}.requirements=[{rest}]"),
                )


def _installed(plan: Plan) -> Iterator[Finding]:
    host = plan.choice.host
    version = host.version(TOOL)
    if version is None:
        return
    for name, pin in _pins(version).items():
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


def _pins(version: str) -> dict[str, str]:
    return PINS.get(".".join(version.split(".")[:2]), {})


def _lines(plan: Plan, requirement: str) -> list[str]:
    """Return a requirement, or the lines of its file where that can be read."""
    file = requirement.removeprefix("{examples}/")
    if file == requirement:
        return [requirement]
    host = plan.choice.host
    root = plan.recipe.settings.trtllm.examples_dir
    if root is None and host.lookup:  # else it is another machine's
        root = host.trtllm_examples
    try:
        return Path(root, file).read_text(encoding="utf-8").splitlines() if root else []
    except (OSError, ValueError):
        return []


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
    named = re.findall(r"(?:==|>=|>)([\d.]+)", f"{asked},{pin}")
    tried = [*named, *(f"{version}.0.1" for version in named)]
    return not tried or any(is_within(each, asked) and is_within(each, pin) for each in tried)
