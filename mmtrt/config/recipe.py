"""One recipe with its variant chosen: what sizing, planning and the rules read."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.config import schema, typed
from mmtrt.errors import RecipeError
from mmtrt.sizing.features import UnknownFamily, VisionShape, image_cost
from mmtrt.sizing.solve import Demand, Sizing, solve

Where = Callable[[typed.KeyPath], str]
"""Tells where a key was written: ``file:line:column`` or ``override 'tp=2'``."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model family, one checkpoint of it, and everything the user chose."""

    settings: schema.Settings
    variant_name: str
    variant: schema.Variant
    model_name: str
    """Directory name of the artifacts; TensorRT-LLM scripts look for words in it."""
    dtype: schema.Dtype
    workflow: schema.Workflow
    run: schema.RunRequest
    """The request, with the recipe's and the variant's defaults filled in."""
    sizing: Sizing
    overrides: tuple[str, ...] = ()
    where: Where = typed.dotted
    config_dirs: tuple[Path, ...] = ()
    """The user's own configuration directories, whose ``assets/`` may be named too."""

    @property
    def file(self) -> schema.RecipeFile:
        """The family's own file."""
        return self.settings.recipe

    @property
    def name(self) -> str:
        """The family's name."""
        return self.file.name


def resolve(
    settings: schema.Settings,
    overrides: tuple[str, ...] = (),
    where: Where = typed.dotted,
    config_dirs: tuple[Path, ...] = (),
) -> Recipe:
    """Choose the variant, fill in its defaults and size the engines.

    Raises:
        RecipeError: CFG110 for an unknown variant, CFG111 for a family without calculator,
            CFG101 to CFG104 for a default of the recipe that does not fit the schema.
    """
    file = settings.recipe
    variant_name = settings.variant or file.default_variant
    if variant_name not in file.variants:
        near = difflib.get_close_matches(variant_name, file.variants, 1, 0.4)
        raise RecipeError(
            f"recipe {file.name} has no variant {variant_name!r}",
            code="CFG110",
            at=where(("variant",)),
            why=f"its variants are {', '.join(file.variants)}",
            fix=f"variant={near[0] if near else file.default_variant}",
        )
    variant = file.variants[variant_name]
    run = _with_defaults(
        settings.run,
        {
            ("recipe", "run"): file.run,
            ("recipe", "variants", variant_name, "run"): variant.run,
        },
        where,
    )
    return Recipe(
        settings=settings,
        variant_name=variant_name,
        variant=variant,
        model_name=_model_name(settings, variant, variant_name),
        dtype=settings.dtype or variant.dtype or file.dtype,
        workflow=settings.workflow or file.workflow,
        run=run,
        sizing=_size(settings, variant, run, where),
        overrides=overrides,
        where=where,
        config_dirs=config_dirs,
    )


def _with_defaults(
    asked: schema.RunRequest, defaults: Mapping[typed.KeyPath, dict[str, Any]], where: Where
) -> schema.RunRequest:
    """Fill what the user left at its default from the recipe, then from the variant."""
    merged: dict[str, Any] = {}
    for path, values in defaults.items():
        _, problems = typed.read(schema.RunRequest, values, path)
        if problems:
            first = problems[0]
            raise RecipeError(
                f"{typed.dotted(first.path)} {first.message}", code="CFG101", at=where(first.path)
            )
        merged |= {key: value for key, value in values.items() if value is not None}
    blank = schema.RunRequest()
    untouched = {
        f.name
        for f in dataclasses.fields(blank)
        if getattr(asked, f.name) == getattr(blank, f.name)
    }
    return dataclasses.replace(asked, **{k: v for k, v in merged.items() if k in untouched})


def _model_name(settings: schema.Settings, variant: schema.Variant, variant_name: str) -> str:
    if settings.model.path:
        return settings.model.path.rstrip("/").rsplit("/", 1)[-1] or "model"
    if variant.model_name:
        return variant.model_name
    if variant.repo_id:
        return variant.repo_id.rsplit("/", 1)[-1]
    if variant.path:
        return variant.path.rstrip("/").rsplit("/", 1)[-1]
    return f"{settings.recipe.name}-{variant_name}"


def _size(
    settings: schema.Settings, variant: schema.Variant, run: schema.RunRequest, where: Where
) -> Sizing:
    file, asked = settings.recipe, settings.workload
    facts = variant.facts

    def pick(name: str) -> Any:
        for source in (asked, variant.workload, file.workload):
            if (value := getattr(source, name)) is not None:
                return value
        return None

    try:
        image = image_cost(
            file.family,
            VisionShape(
                (facts.image_size[0], facts.image_size[1]),
                facts.patch_size,
                tuple((p[0], p[1]) for p in facts.image_grid_pinpoints or ()),
            ),
            pick("image_size"),
        )
    except UnknownFamily:
        raise RecipeError(
            f"no calculator for family {file.family!r}",
            code="CFG111",
            at=where(("recipe", "family")),
            fix="use a family that mmtrt knows: see mmtrt/sizing/features.py",
        ) from None
    new_tokens = pick("max_new_tokens")
    demand = Demand(
        batch_size=pick("batch_size"),
        images_per_request=pick("images_per_request") or 1,
        text_tokens=pick("text_tokens"),
        max_new_tokens=new_tokens if new_tokens is not None else (run.max_new_tokens or 128),
        asked=frozenset(
            f.name for f in dataclasses.fields(asked) if getattr(asked, f.name) is not None
        ),
    )
    stated = {**_stated(file.limits), **_drop_none(_stated(variant.limits))}
    return solve(demand, image, stated, _stated(settings))


def _stated(limits: schema.LimitChoices) -> dict[str, int | None]:
    """Return the limits by their flat names."""
    by_name: dict[str, int | None] = {
        f.name: getattr(limits, f.name)
        for f in dataclasses.fields(schema.LimitChoices)
        if f.name != "vision"
    }
    return by_name | {"vision.max_batch_size": limits.vision.max_batch_size}


def _drop_none(values: dict[str, int | None]) -> dict[str, int | None]:
    return {key: value for key, value in values.items() if value is not None}
