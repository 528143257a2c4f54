"""A plan and its verdicts, for people and as ``mmtrt plan --json`` promises."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.plan.assess import Assessment, NodeState, Verdicts
from mmtrt.plan.render import Layout, places_json, symbolic
from mmtrt.report.colors import paint
from mmtrt.report.units import duration_text, size_text
from mmtrt.rules.base import Finding

if TYPE_CHECKING:
    from mmtrt.plan.estimate import Estimate

SIGNS = {"hit": "=", "run": "+", "maybe": "?", "skip": "-"}
PAINTS = {"hit": "green", "run": "yellow", "maybe": "blue", "skip": "dim"}


def plan_json(
    assessment: Assessment, findings: Sequence[Finding], as_symbols: bool = False
) -> dict[str, Any]:
    """Return the contract of ``mmtrt plan --json`` (design.md section 4)."""
    plan = assessment.plan
    recipe = plan.recipe
    demand = recipe.sizing.demand
    rows = estimates_of(assessment)
    engine = plan.choice.backend.engine_choice
    return {
        "schema": 1,
        "recipe": recipe.name,
        "variant": recipe.variant_name,
        "model_name": recipe.model_name,
        "backend": plan.choice.backend.name,
        "backend_because": plan.choice.because,
        "lock": plan.choice.lock,
        "toolchain": plan.choice.backend.toolchain(),
        "engine": None if engine is None else engine.name,
        "engine_because": None if engine is None else engine.because,
        "host": plan.choice.host.to_json(),
        "quant": recipe.settings.quant.name,
        "tp": recipe.settings.tp,
        "pp": recipe.settings.pp,
        "overrides": list(recipe.overrides),
        "limits": {name: limit.to_json() for name, limit in recipe.sizing.limits.items()},
        "workload": {
            f.name: getattr(demand, f.name) for f in dataclasses.fields(demand) if f.name != "asked"
        },
        "visual_features_per_request": recipe.sizing.features_per_request,
        "stages": [
            stage_json(assessment, state, as_symbols)
            | {"estimates": {each.name: each.to_json() for each in rows.get(state.node.id, ())}}
            for state in assessment.states.values()
        ],
        "findings": [finding.to_json() for finding in findings],
    }


def stage_json(assessment: Verdicts, state: NodeState, as_symbols: bool) -> dict[str, Any]:
    """Return one stage of the contract; a skipped stage has no command."""
    node, command = state.node, state.node.command
    row: dict[str, Any] = {
        "id": node.id,
        "kind": node.kind,
        "status": state.status,
        "reasons": [reason.to_json() for reason in state.reasons],
        "key": state.key,
        "argv": [],
        "cwd": None,
        "env": {},
        "needs": list(node.needs),
        "inputs": {},
        "outputs": {},
        "resources": None,
    }
    if command is None:
        return row | {"skip": node.skip}
    layout = layout_of(assessment, state)
    return row | {
        "argv": symbolic(command) if as_symbols else layout.argv(command),
        "cwd": layout.cwd(command),
        "env": dict(command.env),
        "inputs": places_json(command, layout, as_symbols),
        "outputs": {
            name: "{out}/" + path if as_symbols or layout.out is None else str(layout.out / path)
            for name, path in command.outputs.items()
        },
        "resources": command.resources.to_json(),
    }


def layout_of(assessment: Verdicts, state: NodeState) -> Layout:
    """Return where a node's symbols are, as far as keys are known."""
    root, node = assessment.store.root, state.node

    def place(of: NodeState) -> Path | None:
        if of.key is None:
            return None
        return (root / of.node.kind / of.key / of.node.stage.model_name).absolute()

    feeds = {port: place(assessment[feed]) for port, feed in node.feeds.items()}
    return Layout(
        place(state),
        {port: path for port, path in feeds.items() if path is not None},
        sys.executable,
        assessment.store.side,
    )


def heading(assessment: Assessment) -> str:
    """Return the plan's first line: what, with which toolchain, and why that one."""
    plan = assessment.plan
    tool = plan.choice.backend.toolchain()
    recipe = plan.recipe
    parts = [f"{recipe.name} {recipe.variant_name}"]
    if recipe.settings.quant.name != "none":
        parts.append(recipe.settings.quant.name)
    if recipe.settings.tp * recipe.settings.pp > 1:
        parts.append(f"tp={recipe.settings.tp} pp={recipe.settings.pp}")
    version = (
        tool["version"] if tool["name"] == plan.choice.backend.name else " ".join(tool.values())
    )
    parts.append(f"backend {plan.choice.backend.name}, {version} ({plan.choice.because})")
    if plan.choice.lock is not None:
        parts.append(f"locked by {plan.choice.lock}")
    engine = plan.choice.backend.engine_choice
    if engine is not None:
        # Nothing to explain where the user said so.
        because = "" if engine.because == f"engine={engine.name}" else f" ({engine.because})"
        parts.append(f"engine {engine.name}{because}")
    return " · ".join(parts)


def plan_text(
    assessment: Assessment, findings: Sequence[Finding], color: bool, verbose: bool = False
) -> str:
    """Return the plan as a terminal shows it."""
    lines = [paint(heading(assessment), "bold", color)]
    lines += _limit_lines(assessment)
    width = max((len(node.id) for node in assessment.plan.nodes), default=0)
    for state in assessment.states.values():
        status = state.status
        sign = paint(
            f"{SIGNS[status]} {state.node.id:<{width}}  {status:<5}", PAINTS[status], color
        )
        lines.append(f"  {sign}  {_note(state)}".rstrip())
        if verbose and state.node.command is not None:
            lines += [f"      {line}" for line in _command_lines(assessment, state)]
    lines += _estimate_lines(assessment)
    lines.append(totals(assessment))
    lines += [finding.render() for finding in findings]
    return "\n".join(lines)


def totals(assessment: Assessment) -> str:
    """Return the plan's last line."""
    run, maybe = assessment.count("run"), assessment.count("maybe")
    if not run and not maybe:
        return f"Nothing to do: {assessment.count('hit')} stages are in the store."
    possible = f", {maybe} possible" if maybe else ""
    return f"Plan: {run} to run{possible}, {assessment.count('hit')} in the store."


def _limit_lines(assessment: Assessment) -> list[str]:
    sizing = assessment.plan.recipe.sizing
    stated = [
        f"{name} {limit.value}" for name, limit in sizing.limits.items() if limit.value is not None
    ]
    return wrapped("limits:", stated)


def wrapped(label: str, parts: Sequence[str]) -> list[str]:
    """Return parts as lines behind a label, separated by commas."""
    lines, line, indent = [], f"  {label}", " " * (len(label) + 2)
    for part in parts:
        if len(line) + len(part) > 96 and not line.endswith(":") and line != indent:
            lines.append(line + ",")
            line = indent
        line += (", " if line.strip() and not line.endswith(":") else " ") + part
    return [*lines, line]


def estimates_of(verdicts: Verdicts) -> dict[str, tuple[Estimate, ...]]:
    """Return what each stage will take; nothing where all is in the store."""
    if not verdicts.count("run") and not verdicts.count("maybe"):
        return {}
    from mmtrt.plan.estimate import estimates

    return estimates(verdicts)


def _estimate_lines(assessment: Assessment) -> list[str]:
    """Return what the plan will take, as far as something is known."""
    rows = estimates_of(assessment)
    if not rows:
        return []
    from mmtrt.plan.estimate import total
    from mmtrt.plan.rank_memory import gpu_memory

    lines = []
    ranks = gpu_memory(assessment.plan) if total(rows, "gpu_memory") else None
    if ranks is not None:
        sizes = [f"{part.name} {size_text(part.size_bytes)}" for part in ranks.parts]
        whole = f"at least {size_text(ranks.size_bytes)} (computed)"
        lines += wrapped("GPU memory of a rank:", [whole, *sizes])
    return [*lines, *taking_lines(rows, assessment)]


def taking_lines(rows: Mapping[str, tuple[Estimate, ...]], verdicts: Verdicts) -> list[str]:
    """Return disk, the most memory and the time that are not spent yet, as far as known."""
    from mmtrt.plan.estimate import total

    disk, ram, times = (total(rows, name) for name in ("disk", "ram", "seconds"))
    told = []
    if disk:
        told.append(f"{size_text(sum(each.value for each in disk))} of disk{_kinds(disk)}")
    if ram:
        stage = next(name for name, row in rows.items() if ram[0] in row)
        told.append(f"{size_text(ram[0].value)} of RAM for {stage}{_kinds(ram[:1])}")
    if times:
        seconds = duration_text(sum(each.value for each in times))
        pending = verdicts.count("run") + verdicts.count("maybe")
        told.append(f"{seconds} for {len(times)} of {pending} stages{_kinds(times)}")
    return wrapped("will take about:", told) if told else []


def _kinds(found: Sequence[Estimate]) -> str:
    """Return how numbers were found: computed, measured or both."""
    return f" ({' and '.join(sorted({each.kind for each in found}))})"


def _note(state: NodeState) -> str:
    if state.status == "skip":
        return state.node.skip or ""
    if state.status == "hit" and state.artifact is not None:
        size = sum(entry.size for entry in state.artifact.manifest.files)
        return f"{(state.key or '')[:8]}  {size_text(size)}"
    reasons = state.reasons
    from mmtrt.plan.stale import FirstBuild, UpstreamRuns

    if state.status == "maybe":
        stages = [reason.stage for reason in reasons if isinstance(reason, UpstreamRuns)]
        return f"unless {' and '.join(stages)} come{'s' * (len(stages) == 1)} out the same"
    if any(isinstance(reason, FirstBuild) for reason in reasons):
        # That an input comes first is plain to see then.
        reasons = tuple(reason for reason in reasons if not isinstance(reason, UpstreamRuns))
    return "; ".join(reason.sentence() for reason in reasons)


def _command_lines(assessment: Assessment, state: NodeState) -> list[str]:
    """Return the command, flags on lines of their own."""
    import shlex

    assert state.node.command is not None
    words = layout_of(assessment, state).argv(state.node.command)
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += " " + shlex.quote(word)
    return [line + (" \\" if i + 1 < len(lines) else "") for i, line in enumerate(lines)]
