"""A recipe's graph as typed stages: where the recipe's choices meet each stage's fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmtrt.config.recipe import Recipe
from mmtrt.config.root import asset
from mmtrt.config.schema import StageSpec, listed
from mmtrt.errors import PlanError, RecipeError
from mmtrt.stages import (
    STAGE_TYPES,
    Assemble,
    BuildLlm,
    BuildVision,
    Convert,
    Download,
    Edit,
    Patch,
    Quantize,
    Run,
    Stage,
)


def stages_of(recipe: Recipe, engine: str) -> list[Stage]:
    """Return the recipe's stages in the order in which the file states them.

    Args:
        recipe: the resolved recipe.
        engine: engine format of the chosen backend.

    Raises:
        PlanError: CFG120 for a port or a stage that does not exist.
    """
    nodes = []
    for stage_id, spec in recipe.file.stages.items():
        _check_needs(recipe, stage_id, spec)
        common: dict[str, Any] = {
            "id": stage_id,
            "model_name": recipe.model_name,
            "needs": dict(spec.needs),
        }
        nodes.append(_MAKERS[spec.kind](recipe, spec, engine, common))
    return nodes


def _check_needs(recipe: Recipe, stage_id: str, spec: StageSpec) -> None:
    ports = STAGE_TYPES[spec.kind].PORTS
    for port, source in spec.needs.items():
        key = ("recipe", "stages", stage_id, "needs", port)
        if port not in ports and spec.kind != "assemble":
            raise PlanError(
                f"stage {stage_id} ({spec.kind}) has no input {port!r}",
                code="CFG120",
                at=recipe.where(key),
                fix=f"use one of: {', '.join(ports) or 'none, it has no inputs'}",
            )
        if source not in recipe.file.stages:
            raise PlanError(
                f"stage {stage_id} needs {source!r}, which is no stage of recipe {recipe.name}",
                code="CFG120",
                at=recipe.where(key),
                fix=f"use one of: {', '.join(recipe.file.stages)}",
            )


def _local_path(recipe: Recipe, path: str) -> str:
    """Return the place of a local path, of an ``asset://`` URI, or a URL as it is."""
    if path.startswith("asset://"):
        return str(asset(path, recipe.config_dirs))
    return path if "://" in path else str(Path(path).expanduser())


def _limit(recipe: Recipe, name: str) -> int:
    return recipe.sizing.limits.required(name)


def _download(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    variant, model = recipe.variant, recipe.settings.model
    path = model.path or variant.path
    if path is None and variant.repo_id is None:
        raise RecipeError(
            f"recipe {recipe.name} needs a model directory",
            code="CFG121",
            at=recipe.where(("recipe", "variants", recipe.variant_name)),
            why="this variant names no repository",
            fix="model.path=/path/to/model",
        )
    return Download(
        **common,
        repo_id=None if path else variant.repo_id,
        revision=None if path else (model.revision or variant.revision or "main"),
        local_dir=_local_path(recipe, path) if path else None,
        include=tuple(spec.include),
        exclude=tuple(spec.exclude),
        allow_pickle=spec.allow_pickle,
    )


def _patch(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    return Patch(
        **common,
        edits=tuple(
            Edit(e.file, e.before, e.after, e.before_sha256, e.after_sha256) for e in spec.edits
        ),
    )


def _convert(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    return Convert(
        **common,
        family=recipe.file.family,
        dtype=recipe.dtype,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        weight_only={"int8_wo": "int8", "int4_wo": "int4"}.get(recipe.settings.quant.name),
    )


def _quantize(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    quant = recipe.settings.quant
    return Quantize(
        **common,
        family=recipe.file.family,
        format=quant.name,
        dtype=recipe.dtype,
        block_size=quant.block_size,
        kv_cache_dtype=quant.kv_cache_dtype,
        calib_size=quant.calib_size,
        calib_dataset=quant.calib_dataset,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
    )


def _build_llm(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    limits = recipe.sizing.limits
    return BuildLlm(
        **common,
        family=recipe.file.family,
        engine=engine,
        dtype=recipe.dtype,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        max_batch_size=_limit(recipe, "max_batch_size"),
        max_input_len=_limit(recipe, "max_input_len"),
        max_seq_len=_limit(recipe, "max_seq_len"),
        max_num_tokens=limits.value("max_num_tokens"),
        max_multimodal_len=limits.value("max_multimodal_len"),
        max_encoder_input_len=limits.value("max_encoder_input_len"),
        plugins=tuple(spec.plugins),
    )


def _build_vision(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    return BuildVision(
        **common,
        family=recipe.file.family,
        engine=engine,
        dtype=recipe.dtype,
        max_batch_size=_limit(recipe, "vision.max_batch_size"),
    )


def _assemble(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    return Assemble(**common)


def _run(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    run = recipe.run
    return Run(
        **common,
        family=recipe.file.family,
        engine=engine,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        session=recipe.settings.session,
        prompts=tuple(listed(run.prompt)),
        images=tuple(_local_path(recipe, image) for image in listed(run.image)),
        batch_size=run.batch_size,
        max_new_tokens=run.max_new_tokens or recipe.sizing.demand.max_new_tokens,
        top_k=run.top_k,
        top_p=run.top_p,
        temperature=run.temperature,
        repetition_penalty=run.repetition_penalty,
        seed=run.seed,
        run_profiling=run.run_profiling,
        check_accuracy=run.check_accuracy,
    )


_MAKERS: dict[str, Callable[[Recipe, StageSpec, str, dict[str, Any]], Stage]] = {
    "download": _download,
    "patch": _patch,
    "convert": _convert,
    "quantize": _quantize,
    "build_vision": _build_vision,
    "build_llm": _build_llm,
    "assemble": _assemble,
    "run": _run,
}
