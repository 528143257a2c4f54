"""The merged plan of a sweep and its findings, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmtrt.plan.assess import NodeState, Verdicts
from mmtrt.plan.merge import Merged
from mmtrt.report.choices import Choices
from mmtrt.report.colors import paint
from mmtrt.report.plan_view import (
    PAINTS,
    SIGNS,
    estimates_of,
    stage_json,
    taking_lines,
    wrapped,
)
from mmtrt.report.units import size_text
from mmtrt.rules.base import Finding
from mmtrt.rules.sweep import SweepPlan, Told

SHOWN = 60
"""Nodes and points that a terminal is shown, unless all are asked for (*chosen*)."""


def choices_of_sweep(sweep: SweepPlan) -> Choices:
    """Return what tells the points apart."""
    return Choices({entry.id: entry.overrides for entry in sweep.entries})


def users_of(merged: Merged) -> dict[str, list[str]]:
    """Return for each node the ids of the points that need it."""
    users: dict[str, list[str]] = {node.id: [] for node in merged.nodes}
    for point in merged.points:
        for node in point.stages.values():
            users[node].append(point.id)
    return users


def sweep_json(
    sweep: SweepPlan, verdicts: Verdicts | None, as_symbols: bool = False
) -> dict[str, Any]:
    """Return what ``mmtrt plan -m --json`` promises (docs/sweeps.md)."""
    choices = choices_of_sweep(sweep)
    points = []
    for entry in sweep.entries:
        row: dict[str, Any] = {
            "id": entry.id,
            "overrides": choices.by_point[entry.id],
            "words": list(entry.overrides),
            "status": "invalid" if entry.point is None else "valid",
            "error": entry.error,
        }
        if (point := entry.point) is not None:
            row |= {
                "recipe": point.recipe,
                "variant": point.variant,
                "backend": point.backend,
                "toolchain": dict(point.toolchain),
                "visual_features_per_request": point.features_per_request,
                "limits": dict(point.limits),
                "stages": dict(point.stages),
            }
        points.append(row)
    users = {} if sweep.merged is None else users_of(sweep.merged)
    stages = [] if verdicts is None else list(verdicts.states.values())
    rows = {} if verdicts is None else estimates_of(verdicts)
    return {
        "schema": 1,
        "varied": list(choices.varied),
        "points": points,
        "stages": [
            {
                **stage_json(verdicts, state, as_symbols),
                "stage": state.node.stage.id,
                "points": users[state.node.id],
                "estimates": {e.name: e.to_json() for e in rows.get(state.node.id, ())},
            }
            for state in stages
            if verdicts is not None
        ],
        "findings": [told_json(told) for told in sweep.told],
    }


def told_json(told: Told) -> dict[str, Any]:
    """Return a finding with its points."""
    return {**told.finding.to_json(), "points": list(told.points)}


def findings_text(told: Iterable[Told], choices: Choices) -> str:
    """Return every finding once, with the points that have it."""
    return "\n".join(_with_points(each.finding, choices.shortly(each.points)) for each in told)


def _with_points(finding: Finding, points: str) -> str:
    first, *rest = finding.render().split("\n")
    return "\n".join([first, f"  points: {points}", *rest])


def plan_text(sweep: SweepPlan, verdicts: Verdicts | None, color: bool, verbose: bool) -> str:
    """Return the merged plan as a terminal shows it: each node once, with the points it is for."""
    choices = choices_of_sweep(sweep)
    lines = [paint(_heading(sweep), "bold", color)]
    if verdicts is not None and sweep.merged is not None:
        users = users_of(sweep.merged)
        states = list(verdicts.states.values())
        shown = states if verbose else states[:SHOWN]
        width = max(len(state.node.id) for state in shown)
        for state in shown:
            named = choices.shortly(users[state.node.id])
            sign = f"{SIGNS[state.status]} {state.node.id:<{width}}  {state.status:<5}"
            note = _note(state)
            parts = [paint(sign, PAINTS[state.status], color), named, note]
            lines.append("  " + "  ".join(part for part in parts if part))
        if len(states) > len(shown):
            lines.append(f"  and {len(states) - len(shown)} more; -v shows all")
        lines += _estimate_lines(sweep.merged, verdicts, choices)
        lines.append(totals(sweep, verdicts))
    if sweep.told:
        lines.append(findings_text(sweep.told, choices))
    return "\n".join(lines)


def _estimate_lines(merged: Merged, verdicts: Verdicts, choices: Choices) -> list[str]:
    """Return what all points will take together; what they share counts once."""
    rows = estimates_of(verdicts)
    if not rows:
        return []
    from mmtrt.plan.estimate import total
    from mmtrt.plan.rank_memory import ranks_of

    lines = []
    if most := total(rows, "gpu_memory"):
        node = next(node for node in merged.nodes if most[0] in rows[node.id])
        points = choices.shortly(users_of(merged)[node.id])
        whole = f"at least {size_text(most[0].value)} (computed) for {points}"
        rank = ranks_of(merged, [node])
        parts = () if rank is None else rank.parts
        sizes = [f"{part.name} {size_text(part.size_bytes)}" for part in parts]
        lines += wrapped("GPU memory of a rank:", [whole, *sizes])
    return [*lines, *taking_lines(rows, verdicts)]


def _heading(sweep: SweepPlan) -> str:
    choices = choices_of_sweep(sweep)
    count = len(sweep.entries)
    text = f"{count} point{'s' * (count != 1)}"
    if choices.varied:
        text += f" over {', '.join(choices.varied)}"
    if sweep.invalid:
        text += f" · {len(sweep.invalid)} cannot run"
    if sweep.merged is not None:
        stages = sum(len(point.stages) for point in sweep.merged.points)
        text += f" · {stages} stages are {len(sweep.merged.nodes)} nodes"
    return text


def totals(sweep: SweepPlan, verdicts: Verdicts) -> str:
    """Return the plan's last line."""
    run, maybe, hits = (verdicts.count(status) for status in ("run", "maybe", "hit"))
    if not run and not maybe:
        return f"Nothing to do: {hits} nodes are in the store."
    possible = f", {maybe} possible" if maybe else ""
    return f"Plan: {run} to run{possible}, {hits} in the store."


def _note(state: NodeState) -> str:
    if state.status == "hit":
        return (state.key or "")[:8]
    if state.status == "maybe":
        return "unless its inputs come out the same"
    reasons = [
        r.sentence() for r in state.reasons if r.type not in ("upstream_runs", "first_build")
    ]
    return "; ".join(reasons)


def titles_of(merged: Merged, choices: Choices) -> Mapping[str, str]:
    """Return how a display names each node: its id, and the points it is for."""
    users = users_of(merged)
    titles = {}
    for node in merged.nodes:
        points: Sequence[str] = users[node.id]
        is_common = len(points) == len(merged.points)
        titles[node.id] = node.id if is_common else f"{node.id} ({choices.shortly(points)})"
    return titles
