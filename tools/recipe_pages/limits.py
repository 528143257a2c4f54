"""The limits of a recipe in Markdown: their sums, and what moves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import LimitChoices, Workload
from mmtrt.errors import MmtrtError
from mmtrt.report import markdown as md
from mmtrt.sizing.limits import Limits
from tools.recipe_pages.plans import Subject


def features_of(recipe: Recipe) -> int:
    """Return the visual features of one request, wherever the language model meets them."""
    sizing = recipe.sizing
    if is_attended(recipe):
        return sizing.encoder_tokens_per_request
    return sizing.features_per_request


def is_attended(recipe: Recipe) -> bool:
    """Tell whether features are attended to across, not put into the prompt."""
    return recipe.sizing.visual_input == "cross_attention"


@dataclass(frozen=True, slots=True)
class _Move:
    """An override, and the limits that it changes."""

    override: str
    changes: dict[str, int | None]


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
    cost, features = md.text(recipe.sizing.image.because), features_of(recipe)
    across = ", attended to across" if is_attended(recipe) else ""
    parts = [
        "## Limits",
        f"The limits{whose} as the recipe has them. Each is a key of its own: "
        f"what you set wins, and is checked. One request has {features} visual features{across}: "
        f"{cost}.",
        md.table(columns, rows, right=("Value",)),
    ]
    examples = [(md.code(move.override), _changes(move)) for move in moves]
    if examples:
        parts.append(md.table(("For example", "gives"), examples))
    return "\n\n".join([*parts, *_other_limits(subject, recipe)])


def _changes(move: _Move) -> str:
    return ", ".join(f"{md.code(name)} {new}" for name, new in move.changes.items())


def _moves(subject: Subject, recipe: Recipe) -> Iterator[_Move]:
    """Ask the solver which limits change with each number that people set."""
    limits = recipe.sizing.limits
    for override, probe in _probes(recipe).items():
        found = _solved(subject, probe)
        # What a family does not have, such as sound, makes no difference however much it is.
        if found is None or (probe.other and found == _solved(subject, probe.other)):
            continue
        own = override.partition("=")[0]
        changes = {
            name: limit.value
            for name, limit in found.items()
            if limit.value != limits.value(name) and name != own
        }
        if changes:
            yield _Move(override, changes)


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Something to ask the solver."""

    workload: Workload = field(default_factory=Workload)
    limits: LimitChoices = field(default_factory=LimitChoices)
    other: _Probe | None = None
    """The same with another number."""


def _probes(recipe: Recipe) -> dict[str, _Probe]:
    """Return what to ask by the override that asks it."""
    limits = recipe.sizing.limits
    requests = 2 * limits.required("max_batch_size")
    prompt = limits.value("max_input_len")
    tokens, new_tokens = 2 * (prompt or 512), 2 * recipe.sizing.demand.max_new_tokens

    def shows(one: Workload, another: Workload) -> _Probe:
        return _Probe(workload=one, other=_Probe(workload=another))

    size, other = [480, 640], [1600, 400]
    found = {
        f"workload.batch_size={requests}": _Probe(workload=Workload(batch_size=requests)),
        "workload.images_per_request=2": _Probe(workload=Workload(images_per_request=2)),
        f"workload.image_size=[{size[0]},{size[1]}]": shows(
            Workload(image_size=size), Workload(image_size=other)
        ),
        "workload.video_frames=16": shows(Workload(video_frames=16), Workload(video_frames=8)),
        "workload.audio_seconds=10": shows(
            Workload(audio_seconds=10.0), Workload(audio_seconds=20.0)
        ),
        f"workload.text_tokens={tokens}": _Probe(workload=Workload(text_tokens=tokens)),
        f"workload.max_new_tokens={new_tokens}": _Probe(
            workload=Workload(max_new_tokens=new_tokens)
        ),
        f"max_batch_size={requests}": _Probe(limits=LimitChoices(max_batch_size=requests)),
    }
    if prompt is not None:
        found[f"max_input_len={tokens}"] = _Probe(limits=LimitChoices(max_input_len=tokens))
    return found


def _solved(subject: Subject, probe: _Probe) -> Limits | None:
    try:
        return subject.recipe(workload=probe.workload, limits=probe.limits).sizing.limits
    except MmtrtError:
        return None


def _other_limits(subject: Subject, default: Recipe) -> Iterator[str]:
    """Yield the limits of variants that have others."""
    usual = default.sizing.limits
    whose: dict[str, list[str]] = {}
    for name in subject.file.variants:
        told = ", ".join(
            f"{md.code(key)} {'none' if limit.value is None else limit.value}"
            for key, limit in subject.recipe(name).sizing.limits.items()
            if limit.value != usual.value(key)
        )
        if told:
            whose.setdefault(told, []).append(name)
    for told, names in whose.items():
        yield f"Other limits of {md.codes(names)}: {told}."
