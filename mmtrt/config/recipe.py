"""One recipe with its variant chosen: what sizing, planning and the rules read."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmtrt.config import schema, typed
from mmtrt.config.hf_facts import LocalFacts, refine
from mmtrt.config.root import display, recipes_root
from mmtrt.errors import RecipeError
from mmtrt.sizing.features import (
    Flavour,
    ImageCost,
    MissingFact,
    UnknownFamily,
    VisionShape,
    audio_features,
    image_cost,
)
from mmtrt.sizing.solve import Demand, Sizing, prompt_tokens, solve

Where = Callable[[typed.KeyPath], str]
"""Tells where a key was written: ``file:line:column`` or ``override 'tp=2'``."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model family, one checkpoint of it, and everything the user chose."""

    settings: schema.Settings
    variant_name: str
    variant: schema.Variant
    """Its facts are those of a local model's own files, where these say something."""
    model_name: str
    """Directory name of the artifacts; TensorRT-LLM scripts look for words in it."""
    dtype: schema.Dtype
    workflow: schema.Workflow
    run: schema.RunRequest
    """The request, with the recipe's and the variant's defaults filled in."""
    evaluation: schema.EvalRequest
    """The evaluation, with the recipe's defaults filled in."""
    stages: Mapping[str, schema.StageSpec]
    """The graph of this checkpoint: the recipe's, with what the variant has in its place."""
    quant: schema.QuantOptions
    """How this family uses the chosen number format, with what the user set."""
    sessions: tuple[str, ...]
    sizing: Sizing
    overrides: tuple[str, ...] = ()
    where: Where = typed.dotted
    config_dirs: tuple[Path, ...] = ()
    """The user's own configuration directories, whose ``assets/`` may be named too."""
    local: LocalFacts = dataclasses.field(default_factory=lambda: LocalFacts(schema.ModelFacts()))
    """What a local model's files had to say."""

    @property
    def file(self) -> schema.RecipeFile:
        """The family's own file."""
        return self.settings.recipe

    @property
    def native(self) -> schema.NativeFacts:
        """What differs for native engines; nothing where others are built."""
        return _native(self.settings, self.variant)

    @property
    def name(self) -> str:
        """The family's name."""
        return self.file.name

    @property
    def hf_model_type(self) -> str | None:
        """``model_type`` of this checkpoint's ``config.json``; ``None``: it has none."""
        return self.variant.hf_model_type or self.file.hf_model_type

    def where_limit(self, name: str) -> str:
        """Tell where a limit was written; for one that is derived, where it could be."""
        keys = tuple(name.split("."))
        if self.sizing.limits[name].source == "recipe":
            own = ("variants", self.variant_name)
            for place, limits in ((own, self.variant.limits), (("native",), self.native.limits)):
                if _stated(limits)[name] is not None:
                    return self.where(("recipe", *place, "limits", *keys))
            return self.where(("recipe", "limits", *keys))
        return self.where(keys)


def resolve(
    settings: schema.Settings,
    overrides: tuple[str, ...] = (),
    where: Where = typed.dotted,
    config_dirs: tuple[Path, ...] = (),
) -> Recipe:
    """Choose the variant, fill in its defaults and size the engines.

    Raises:
        RecipeError: CFG110 for an unknown variant, CFG111 for a family without calculator,
            CFG113 for a fact that its calculator lacks, CFG101 to CFG104 for a default of the
            recipe that does not fit the schema, CFG105 and CFG114 for a local model's files.
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
    stated = file.variants[variant_name]
    path = settings.model.path or stated.path
    of_layouts = (stated.hf_model_type or file.hf_model_type, file.native_model_type)
    types = {each for each in of_layouts if each is not None}
    local = refine(stated.facts, file.family, types, path, config_dirs)
    variant = dataclasses.replace(stated, facts=local.facts)
    native = _native(settings, variant)
    run = _with_defaults(
        "run",
        settings.run,
        {
            ("recipe", "run"): file.run,
            ("recipe", "native", "run"): native.run,
            ("recipe", "variants", variant_name, "run"): variant.run,
        },
        where,
    )
    if settings.run.video is not None and settings.run.image is None:
        # Who asks about a video does not mean the picture that the recipe shows.
        run = dataclasses.replace(run, image=None)
    evaluation = _with_defaults("eval", settings.eval, {("recipe", "eval"): file.eval}, where)
    sessions = file.sessions if variant.sessions is None else variant.sessions
    return Recipe(
        settings=settings,
        variant_name=variant_name,
        variant=variant,
        model_name=_model_name(settings, variant, variant_name),
        dtype=settings.dtype or variant.dtype or file.dtype,
        workflow=_workflow(settings, variant),
        run=run,
        evaluation=evaluation,
        stages=_stages(_stages(file.stages, native.stages), variant.stages),
        quant=_quant(settings),
        sessions=tuple(sessions),
        sizing=_size(settings, variant, run, where, local.because),
        overrides=overrides,
        where=where,
        config_dirs=config_dirs,
        local=local,
    )


def _native(settings: schema.Settings, variant: schema.Variant) -> schema.NativeFacts:
    """Return what differs for native engines; nothing where others are built."""
    return settings.recipe.native if _is_native(settings, variant) else schema.NativeFacts()


def _is_native(settings: schema.Settings, variant: schema.Variant) -> bool:
    """Return whether mmtrt's own engines are asked for, by name or as what the variant is for."""
    backend = settings.backend.name
    return (variant.backend if backend == "auto" else backend) == "native"


def _workflow(settings: schema.Settings, variant: schema.Variant) -> schema.Workflow:
    native = _native(settings, variant)
    return settings.workflow or variant.workflow or native.workflow or settings.recipe.workflow


def _stages(
    common: Mapping[str, schema.StageSpec], own: Mapping[str, schema.StageSpec | None]
) -> dict[str, schema.StageSpec]:
    """Return a graph with stages of its own, which stand where it takes a common one away."""
    new = {name: spec for name, spec in own.items() if name not in common}
    merged: dict[str, schema.StageSpec | None] = {}
    for name, spec in common.items():
        merged[name] = own.get(name, spec)
        if merged[name] is None:
            merged |= new
    return {name: spec for name, spec in (merged | new).items() if spec is not None}


def _quant(settings: schema.Settings) -> schema.QuantOptions:
    """Return the family's options of the chosen format; what the user set wins."""
    options = settings.recipe.quants.get(settings.quant.name, schema.QuantOptions())
    asked = {
        name: value
        for name in ("dtype", "kv_cache_dtype", "calib_size", "calib_dataset")
        if (value := getattr(settings.quant, name)) is not None
    }
    return dataclasses.replace(options, **asked)


Request = TypeVar("Request", schema.RunRequest, schema.EvalRequest)


def _with_defaults(
    section: str,
    asked: Request,
    defaults: Mapping[typed.KeyPath, dict[str, Any]],
    where: Where,
) -> Request:
    """Fill what the user left unsaid from the recipe, then from the variant.

    A value that an override or a file of the user's says stays, be it ``null`` or a key's default:
    ``run.audio=null`` is a request without the recipe's sound.
    """
    merged: dict[str, Any] = {}
    for path, values in defaults.items():
        if not values:
            continue
        _, problems = typed.read(type(asked), values, path)
        if problems:
            first = problems[0]
            raise RecipeError(
                f"{typed.dotted(first.path)} {first.message}", code="CFG101", at=where(first.path)
            )
        merged |= values
    blank = type(asked)()
    unsaid = {
        name: value
        for name, value in merged.items()
        if value is not None
        and getattr(asked, name) == getattr(blank, name)
        and not _is_said((section, name), where)
    }
    return dataclasses.replace(asked, **unsaid)


def _is_said(path: typed.KeyPath, where: Where) -> bool:
    """Return whether a value stands anywhere but in mmtrt's own list of keys."""
    place = where(path)
    return place != typed.dotted(path) and not place.startswith(
        f"{display(recipes_root() / 'config.yaml')}:"
    )


def _model_name(settings: schema.Settings, variant: schema.Variant, variant_name: str) -> str:
    """Return the name of the model's directory; a user's model keeps its own.

    Where the scripts look for words that the user's name lacks, the checkpoint's usual name, which
    has them, goes before it.
    """
    usual = _usual_name(settings, variant, variant_name)
    if not settings.model.path:
        return usual
    name = settings.model.path.rstrip("/").rsplit("/", 1)[-1].removesuffix(".nemo") or "model"
    words = settings.recipe.name_words if variant.name_words is None else variant.name_words
    return name if all(word in name for word in words) else f"{usual}-{name}"


def _usual_name(settings: schema.Settings, variant: schema.Variant, variant_name: str) -> str:
    if variant.model_name:
        return variant.model_name
    if variant.repo_id:
        return variant.repo_id.rsplit("/", 1)[-1]
    if variant.path:
        return variant.path.rstrip("/").rsplit("/", 1)[-1]
    return f"{settings.recipe.name}-{variant_name}"


def _size(
    settings: schema.Settings,
    variant: schema.Variant,
    run: schema.RunRequest,
    where: Where,
    whose: str,
) -> Sizing:
    """Size the engines for the workload; ``whose`` tells of facts that are not the recipe's.

    Raises:
        RecipeError: CFG111 for a family without calculator, CFG113 for a fact that it lacks.
    """
    file, asked, native = settings.recipe, settings.workload, _native(settings, variant)
    usual = _demand([variant.workload, file.workload], run, frozenset())
    demand = _demand(
        [asked, variant.workload, file.workload],
        run,
        frozenset(f.name for f in dataclasses.fields(asked) if getattr(asked, f.name) is not None),
    )
    shape, flavour = _vision_shape(variant.facts), _flavour(settings, variant)
    try:
        image = _cost(file.family, shape, demand, flavour)
        if whose:
            image = dataclasses.replace(image, because=f"{image.because}; {whose}")
        return solve(
            demand,
            image,
            {
                **_stated(file.limits),
                **_drop_none(_stated(native.limits)),
                **_drop_none(_stated(variant.limits)),
            },
            _stated(settings),
            prompt_table=variant.prompt_table or native.prompt_table or file.prompt_table,
            visual_input=variant.visual_input or file.visual_input,
            architecture=variant.architecture or file.architecture,
            workflow=_workflow(settings, variant),
            audio=audio_features(file.family, demand.audio_seconds, flavour),
            usual=_prompt_tokens(file.family, shape, usual, flavour),
        )
    except UnknownFamily:
        raise RecipeError(
            f"no calculator for family {file.family!r}",
            code="CFG111",
            at=where(("recipe", "family")),
            fix="use a family that mmtrt knows: see mmtrt/sizing/features/__init__.py",
        ) from None
    except MissingFact as missing:
        raise RecipeError(
            str(missing),
            code="CFG113",
            at=where(("recipe", "variants")),
            fix=f"write {missing.fact} under facts of the variant",
        ) from None


def priced(recipe: Recipe, workload: schema.Workload) -> ImageCost | None:
    """Return what one request's visual input costs with another workload of the user's.

    ``None`` where the model's facts do not say.
    """
    asked = [f.name for f in dataclasses.fields(workload) if getattr(workload, f.name) is not None]
    sources = [workload, recipe.variant.workload, recipe.file.workload]
    demand = _demand(sources, recipe.run, frozenset(asked))
    shape, flavour = _vision_shape(recipe.variant.facts), _flavour(recipe.settings, recipe.variant)
    try:
        image = _cost(recipe.file.family, shape, demand, flavour)
    except (UnknownFamily, MissingFact):
        return None
    if recipe.local.because:
        image = dataclasses.replace(image, because=f"{image.because}; {recipe.local.because}")
    return image


def _demand(
    sources: list[schema.Workload], run: schema.RunRequest, asked: frozenset[str]
) -> Demand:
    """Return the workload; earlier sources win.

    Who asks for pictures gets no video that the recipe means, and the other way round.
    """

    def pick(name: str) -> Any:
        values = (getattr(source, name) for source in sources)
        return next((value for value in values if value is not None), None)

    size, frames, new_tokens = pick("image_size"), pick("video_frames"), pick("max_new_tokens")
    pictures, video = asked & {"image_size", "images_per_request"}, "video_frames" in asked
    if pictures and not video:
        frames = None
    if video and "image_size" not in asked:
        size = None
    return Demand(
        batch_size=pick("batch_size"),
        images_per_request=pick("images_per_request") or 1,
        image_size=None if size is None else (size[0], size[1]),
        video_frames=frames,
        audio_seconds=pick("audio_seconds"),
        text_tokens=pick("text_tokens"),
        max_new_tokens=new_tokens if new_tokens is not None else (run.max_new_tokens or 128),
        asked=asked,
    )


def _flavour(settings: schema.Settings, variant: schema.Variant) -> Flavour:
    """Return whose arithmetic counts: only TensorRT-LLM's engines are fed by its own runner."""
    is_theirs = _is_native(settings, variant) or _workflow(settings, variant) == "pytorch"
    return "hf" if is_theirs else "trtllm"


def _cost(family: str, shape: VisionShape, demand: Demand, flavour: Flavour) -> ImageCost:
    return image_cost(
        family,
        shape,
        demand.image_size,
        images=demand.images_per_request,
        frames=demand.video_frames,
        flavour=flavour,
    )


def _prompt_tokens(family: str, shape: VisionShape, demand: Demand, flavour: Flavour) -> int | None:
    """Return what the pictures of a workload take of the prompt, if the facts say enough."""
    try:
        image = _cost(family, shape, demand, flavour)
    except MissingFact:
        return None
    audio = audio_features(family, demand.audio_seconds, flavour)
    return prompt_tokens(demand, image, audio)


def _vision_shape(facts: schema.ModelFacts) -> VisionShape:
    def pair(size: list[int]) -> tuple[int, int]:
        return size[0], size[1]

    return VisionShape(
        image_size=None if facts.image_size is None else pair(facts.image_size),
        patch_size=facts.patch_size,
        pinpoints=tuple(pair(point) for point in facts.image_grid_pinpoints or ()),
        image_tokens=facts.image_tokens,
        max_tiles=facts.max_tiles,
        spatial_merge_size=facts.spatial_merge_size,
        min_pixels=facts.min_pixels,
        max_pixels=facts.max_pixels,
        max_patches=facts.max_patches,
        num_frames=facts.num_frames,
        frame_tokens=facts.frame_tokens,
    )


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
