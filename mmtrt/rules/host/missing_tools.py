"""Flag a plan whose tools are not installed on this host.

## What it checks
The distributions that the chosen backend's commands import.

## Why it matters
A stage would fail at its first import. ``plan``, ``check`` and ``export`` go on regardless: a plan
may be made for another machine. ``run`` refuses with exit code 5.

## Example
    mmtrt run recipe=llava variant=7b backend=trtllm     # where TensorRT-LLM is not installed

## Use instead
    pip install 'mmtrt[native]'

## Source
``pyproject.toml``, optional dependencies.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmtrt.plan.graph import Plan
from mmtrt.rules.base import Finding

OF_EXTRAS = {"av": "pip install 'mmtrt[video]'", "pyarrow": "pip install 'mmtrt[eval]'"}
"""What only some requests need -> how to get it."""
OWN = frozenset({"python", "mmtrt"})
"""What is there because mmtrt runs."""


def check(plan: Plan) -> Iterator[Finding]:
    """Yield a warning that names what is missing and how to get it."""
    backend = plan.choice.backend
    tools = {tool for node in plan.active() if node.command for tool in node.command.tools}
    lacking = sorted(t for t in tools - OWN if plan.choice.host.version(t) is None)
    groups: dict[str, list[str]] = {}
    for tool in lacking:
        groups.setdefault(OF_EXTRAS.get(tool, backend.install_hint), []).append(tool)
    for hint, missing in groups.items():
        yield Finding(
            code="HST102",
            severity="warning",
            message=f"this host lacks {', '.join(missing)}",
            at=plan.recipe.where(("backend", "name")),
            why=f"backend {backend.name} imports them; planning and exporting work without",
            fix=hint,
        )
