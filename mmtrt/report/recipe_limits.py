"""The limits of a recipe in Markdown: their sums, and what moves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import LimitChoices, Workload
from mmtrt.errors import MmtrtError
from mmtrt.report import markdown as md
from mmtrt.report.recipe_plans import Subject


def features_text(recipe: Recipe) -> str:
    """Return the visual features of one request."""
    sizing = recipe.sizing
    if sizing.visual_input == "cross_attention":
        return f"{sizing.encoder_tokens_per_request} (attended to)"
    return str(sizing.features_per_request)


@dataclass(frozen=True, slots=True)
class _Move:
    """An override, and the limits that it changes."""

    override: str
    changes: dict[str, tuple[int | None, int | None]]


def limits_section(subject: Subject) -> str:
    """Return the limits of the default variant, their sums, and what moves them."""
    recipe = subject.recipe()
    moves = list(_moves(subject, recipe))
    movers = {
        name: [m.override.partition("=")[0] for m in moves if name in m.changes]
        for name in recipe.sizing.limits
    }
    rows = [
        (
            md.code(name),
            "" if limit.value is None else str(limit.value),
            "" if limit.value is None else limit.source,
            md.text(limit.because),
            md.codes(movers[name]),
        )
        for name, limit in recipe.sizing.limits.items()
    ]
    columns = ("Limit", "Value", "From", "Because", "Also moved by")
    whose = f" of variant {md.code(recipe.variant_name)}" if len(subject.file.variants) > 1 else ""
    cost = md.text(recipe.sizing.image.because)
    parts = [
        "## Limits",
        f"The limits{whose} as the recipe has them. Each is a key of its own: "
        "what you set wins, and is checked. One picture or video costs "
        f"{features_text(recipe)} visual features: {cost}.",
        md.table(columns, rows, right=("Value",)),
    ]
    examples = [(md.code(move.override), _changes(move)) for move in moves]
    if examples:
        parts.append(md.table(("For example", "gives"), examples))
    return "\n\n".join([*parts, *_other_limits(subject, recipe)])


def _changes(move: _Move) -> str:
    return ", ".join(f"{md.code(name)} {new}" for name, (_, new) in move.changes.items())


def _moves(subject: Subject, recipe: Recipe) -> Iterator[_Move]:
    """Ask the solver: which limits change with each number of the workload?"""
    demand, limits = recipe.sizing.demand, recipe.sizing.limits
    requests = 2 * limits.required("max_batch_size")
    tokens, new_tokens = 2 * (limits.value("max_input_len") or 512), 2 * demand.max_new_tokens
    probes: dict[str, tuple[Workload, LimitChoices]] = {}

    def probe(key: str, shown: object, work: Workload, choices: LimitChoices | None = None) -> None:
        probes[f"{key}={shown}"] = work, choices or LimitChoices()

    probe("workload.batch_size", requests, Workload(batch_size=requests))
    probe("workload.images_per_request", 2, Workload(images_per_request=2))
    probe("workload.image_size", "[480,640]", Workload(image_size=[480, 640]))
    probe("workload.video_frames", 16, Workload(video_frames=16))
    probe("workload.audio_seconds", 10, Workload(audio_seconds=10.0))
    probe("workload.text_tokens", tokens, Workload(text_tokens=tokens))
    probe("workload.max_new_tokens", new_tokens, Workload(max_new_tokens=new_tokens))
    stated = LimitChoices(max_batch_size=requests)
    probe("max_batch_size", requests, Workload(), stated)
    if limits.value("max_input_len") is not None:
        stated = LimitChoices(max_input_len=tokens)
        probe("max_input_len", tokens, Workload(), stated)
    for override, (work, choices) in probes.items():
        try:
            found = subject.recipe(workload=work, limits=choices).sizing.limits
        except MmtrtError:
            continue  # this family has no such thing
        own = override.partition("=")[0]
        changes = {
            name: (limits.value(name), limit.value)
            for name, limit in found.items()
            if limit.value != limits.value(name) and name != own
        }
        if changes:
            yield _Move(override, changes)


def _other_limits(subject: Subject, default: Recipe) -> Iterator[str]:
    """Yield the limits of variants that have others."""
    usual = default.sizing.limits
    for name in subject.file.variants:
        limits = subject.recipe(name).sizing.limits
        other = {
            key: "none" if limit.value is None else str(limit.value)
            for key, limit in limits.items()
            if limit.value != usual.value(key)
        }
        if other:
            told = ", ".join(f"{md.code(key)} {value}" for key, value in other.items())
            yield f"Variant {md.code(name)} has {told} instead."
