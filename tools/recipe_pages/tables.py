"""What a recipe's page says beside limits and commands: variants, requests, sources, repairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TypeAlias

from mmtrt.backends.trtllm import FOR_VERSIONS
from mmtrt.config.recipe import Recipe
from mmtrt.config.schema import RunRequest, Source, Variant, listed
from mmtrt.plan.graph import Plan
from mmtrt.report import markdown as md
from mmtrt.stages import Env
from tools.recipe_pages.limits import features_of, is_attended
from tools.recipe_pages.plans import Subject, findings_of, tp_text

README_COMMIT = "89fd9b74ab7ae753b4c6b3db25a400dca7ea54a0"
README_URL = (
    f"https://github.com/NVIDIA/TensorRT-LLM/blob/{README_COMMIT}"
    "/examples/models/core/multimodal/README.md"
)
"""The README that recipes stand for; lines of its mistakes are counted in it."""
HUB = "https://huggingface.co"
SHORT = 12
"""Digits of a commit that a table shows."""

Media: TypeAlias = dict[str, list[str]]
"""Key of a request -> the files or addresses under it."""


def variants_section(subject: Subject) -> str:
    """Return the checkpoints."""
    rows = [_variant_row(subject, name, variant) for name, variant in subject.file.variants.items()]
    columns = (
        *("Variant", "Model", "Revision", "Licence", "Parameters", "Data type"),
        *("Visual features", "tp", "Notes"),
    )
    table = md.table(columns, rows, right=("Parameters", "Visual features"))
    chosen = "`variant=NAME` chooses one. " if len(rows) > 1 else ""
    return "\n\n".join(
        (
            "## Variants",
            table,
            f"{chosen}Visual features are those of one request. "
            "tp: tensor parallel sizes above 1 that no rule refuses.",
        )
    )


def _variant_row(subject: Subject, name: str, variant: Variant) -> list[str]:
    recipe = subject.recipe(name)
    published = variant.facts.dtype
    dtype = recipe.dtype if recipe.dtype == published else f"{recipe.dtype} (from {published})"
    notes = ["default"] if name == subject.file.default_variant else []
    if variant.backend is not None:
        notes.append(f"backend {md.code(variant.backend)}")
    if not (variant.repo_id or variant.path):
        notes.append("not in a public repository: `model.path=`")
    if variant.architecture not in (None, subject.file.architecture):
        notes.append(str(variant.architecture).replace("_", "-"))
    return [
        md.code(name),
        model_link(variant),
        _revision_link(variant.repo_id, variant.revision),
        md.text(variant.license or ""),
        count_text(variant.facts.parameters),
        dtype,
        f"{features_of(recipe)}{' (attended to)' if is_attended(recipe) else ''}",
        tp_text(subject, name),
        "; ".join(notes),
    ]


def model_link(variant: Variant) -> str:
    """Return where a checkpoint comes from."""
    if variant.repo_id:
        return md.link(md.text(variant.repo_id), f"{HUB}/{variant.repo_id}")
    if variant.path and variant.path.startswith("asset://"):
        return "ships with mmtrt"
    return md.code(variant.path) if variant.path else ""


def _revision_link(repo_id: str | None, revision: str | None) -> str:
    if repo_id is None:
        return ""
    wanted = revision or "main"
    return md.link(md.code(wanted[:SHORT]), f"{HUB}/{repo_id}/tree/{wanted}")


def count_text(parameters: int | None) -> str:
    """Return a number of weights as people say it."""
    if parameters is None:
        return ""
    if parameters >= 10**9:
        return f"{parameters / 10**9:.1f} B"
    return f"{parameters / 10**6:.0f} M"


def readme_link(section: str) -> str:
    """Return a section of TensorRT-LLM's README, by the anchor that GitHub makes of it."""
    anchor = re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-")
    return md.link(md.text(section), f"{README_URL}#{anchor}")


def request_section(subject: Subject, launched: RunRequest) -> str:
    """Return what is asked where the user says nothing."""
    asked: dict[str, list[str]] = {}
    for name in subject.file.variants:
        rows = _request_rows(subject.recipe(name), _media(launched))
        asked.setdefault(md.table(("Key", "Default"), rows), []).append(name)
    parts = ["## What is asked by default"]
    for table, names in asked.items():
        if len(asked) > 1:
            parts.append(f"Variant{'s' * (len(names) > 1)} {md.codes(names)}:")
        parts.append(table)
    return "\n\n".join(parts)


def _request_rows(recipe: Recipe, given: Media) -> Iterator[tuple[str, str]]:
    """Yield the request's keys: what is asked about, then all that differs from a blank one.

    Args:
        recipe: whose request.
        given: what the launch line shows the model.
    """
    run, blank = recipe.run, RunRequest()
    own = "the tool's own"
    prompts = [_quoted(prompt) for prompt in listed(run.prompt)]
    yield "`run.prompt`", "; ".join(prompts) or own
    shown = _media(run)
    for name, media in shown.items():
        if media:
            yield f"`run.{name}`", "; ".join(_medium(medium) for medium in media)
        elif given.get(name):
            yield f"`run.{name}`", "not set; the launch line gives one"
    if not any((*shown.values(), *given.values())):
        yield "`run.image`", own
    yield (
        "`run.max_new_tokens`",
        str(run.max_new_tokens or recipe.sizing.demand.max_new_tokens),
    )
    for name, value in vars(run).items():
        if name not in (*shown, "prompt", "max_new_tokens") and value != getattr(blank, name):
            yield f"`run.{name}`", md.code(str(value))
    for name, value in recipe.file.eval.items():
        yield f"`eval.{name}`", md.code(str(value))


def _media(run: RunRequest) -> Media:
    return {"image": listed(run.image), "video": listed(run.video), "audio": listed(run.audio)}


def _quoted(prompt: str) -> str:
    if not prompt:
        return "empty"
    return md.code(json.dumps(prompt, ensure_ascii=False) if "\n" in prompt else prompt)


def _medium(place: str) -> str:
    if place.startswith("https://"):
        return md.link(md.text(place.rpartition("/")[2]), place)
    if place.startswith("{model}/"):
        return f"{md.code(place.removeprefix('{model}/'))} of the model's own files"
    return md.code(place)


def environment_section(subject: Subject, plan: Plan) -> str:
    """Return what is installed and fetched beside the model; nothing where there is nothing."""
    rows = []
    for node in plan.nodes:
        if not isinstance(node.stage, Env):
            continue
        users = [other.id for other in plan.active() if node.id in other.needs]
        used = f"none: {md.text(node.skip)}" if node.skip else md.codes(users)
        for stated in plan.recipe.stages[node.id].requirements:
            requirement, _, within = stated.partition(FOR_VERSIONS)
            when = md.text(f"TensorRT-LLM {within}") if within else "every version"
            file = requirement.removeprefix("{examples}/")
            whose = " of TensorRT-LLM's examples" if file != requirement else ""
            rows.append((md.code(file) + whose, when, used))
    parts = []
    if rows:
        parts += [
            "Installed in an environment of its own, over the host's packages:",
            md.table(("Requirement", "For", "Used by"), rows),
        ]
    if subject.file.sources:
        named = subject.file.sources.items()
        fetched = [(md.code(name), *_source_cells(source)) for name, source in named]
        parts += ["Fetched beside the model:", md.table(("Source", "From", "Revision"), fetched)]
    return "\n\n".join(["## Environment", *parts]) if parts else ""


def _source_cells(source: Source) -> tuple[str, str]:
    if source.key is not None:
        return f"a path of yours: {md.code(source.key + '=')}", ""
    if source.repo_id is not None:
        link = md.link(md.text(source.repo_id), f"{HUB}/{source.repo_id}")
        return link, _revision_link(source.repo_id, source.revision)
    return f"<{source.git}>", md.code(source.revision[:SHORT])


def findings_section(plan: Plan) -> str:
    """Return what the rules say of the defaults; nothing where they are silent."""
    rows = [
        (
            f"{finding.severity} {md.code(finding.code)}",
            md.text(finding.message),
            md.text(finding.why),
        )
        for finding in findings_of(plan)
    ]
    if not rows:
        return ""
    table = md.table(("Finding", "What", "Why"), dict.fromkeys(rows))
    return f"## What `mmtrt check` says of the defaults\n\n{table}"


def repairs_section(subject: Subject) -> str:
    """Return the README's mistakes that the recipe does not repeat."""
    repairs = sorted(subject.file.repairs, key=lambda repair: repair.line)
    if not repairs:
        return ""
    rows = [
        (
            md.link(f"line {repair.line}", f"{README_URL}?plain=1#L{repair.line}"),
            repair.mistake,
            repair.repair,
        )
        for repair in repairs
    ]
    table = md.table(("README", "Mistake", "What is done here"), rows)
    return f"## Repaired in the README\n\n{table}"
