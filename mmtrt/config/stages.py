"""A recipe's graph as typed stages: where the recipe's choices meet each stage's fields."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmtrt.config.recipe import Recipe
from mmtrt.config.root import asset
from mmtrt.config.schema import RunRequest, StageSpec, listed
from mmtrt.errors import PlanError, RecipeError
from mmtrt.stages import (
    STAGE_TYPES,
    Assemble,
    BuildLlm,
    BuildVision,
    Clone,
    Convert,
    Download,
    Edit,
    Env,
    Eval,
    Patch,
    Quantize,
    Run,
    Serve,
    Stage,
    Write,
)

WEIGHT_ONLY = {"int8_wo": "int8", "int4_wo": "int4"}
"""Formats that a conversion writes by itself, and what its flag calls them."""


def stages_of(recipe: Recipe, engine: str) -> list[Stage]:
    """Return the recipe's stages in the order in which the file states them.

    Args:
        recipe: the resolved recipe.
        engine: engine format of the chosen backend.

    Raises:
        PlanError: CFG120 for a port, a stage or a source that does not exist; CFG127 for a workflow
            that the stages are not those of.
    """
    _check_workflow(recipe)
    nodes = []
    for stage_id, spec in recipe.stages.items():
        _check_needs(recipe, stage_id, spec)
        flags = {**spec.flags, **recipe.quant.flags.get(stage_id, {})}
        common: dict[str, Any] = {
            "id": stage_id,
            "model_name": recipe.model_name,
            "needs": dict(spec.needs),
            "on_demand": spec.on_demand,
            "network": spec.network,
            "script": spec.script,
            "flags": {k: v for k, v in flags.items() if v is not None and v is not False},
            "writes": tuple(spec.writes),
        }
        nodes.append(_MAKERS[spec.kind](recipe, spec, engine, common))
    return nodes


def _check_workflow(recipe: Recipe) -> None:
    """Stop where a workflow is asked for that the recipe does not state the stages of."""
    builds = [
        id for id, spec in recipe.stages.items() if spec.kind in ("build_llm", "build_vision")
    ]
    asks = any(spec.kind == "run" for spec in recipe.stages.values())
    if bool(builds) == (recipe.workflow == "engine") or not asks:
        return
    other = "engine" if builds else "pytorch"
    has = f"builds engines: {', '.join(builds)}" if builds else "builds no engine"
    raise PlanError(
        f"recipe {recipe.name}, variant {recipe.variant_name}, has no workflow={recipe.workflow}",
        code="CFG127",
        at=recipe.where(("workflow",)),
        why=f"it {has}",
        fix=f"workflow={other}",
    )


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
        if source.partition("/")[0] not in recipe.stages:
            raise PlanError(
                f"stage {stage_id} needs {source!r}, which is no stage of recipe {recipe.name}",
                code="CFG120",
                at=recipe.where(key),
                fix=f"use one of: {', '.join(recipe.stages)}",
            )


def _local_path(recipe: Recipe, path: str) -> str:
    """Return the place of a path or an ``asset://`` URI; a URL or ``{model}/...`` as it is."""
    if path.startswith("asset://"):
        return str(asset(path, recipe.config_dirs))
    if "://" in path or path.startswith("{model}/"):
        return path
    return str(Path(path).expanduser())


def _limit(recipe: Recipe, name: str) -> int:
    return recipe.sizing.limits.required(name)


def _download(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    variant, model = recipe.variant, recipe.settings.model
    if spec.source == "model":
        path, repo_id = model.path or variant.path, variant.repo_id
        revision, key = model.revision or variant.revision or "main", "model.path"
    else:
        source = _source(recipe, spec, common["id"])
        path = getattr(model, source.key.partition(".")[2]) if source.key else None
        repo_id, revision = source.repo_id, source.revision
        key = source.key or f"recipe.sources.{spec.source}.repo_id"
        if repo_id is not None:
            common["model_name"] = repo_id.rsplit("/", 1)[-1]
    made = variant.generate if spec.source == "model" and not model.path else None
    if made is not None:
        name = made.model or recipe.file.family
        return Download(**common, generate=name, seed=made.seed)
    if path is None and repo_id is None:
        raise RecipeError(
            f"recipe {recipe.name} needs a {'model' if spec.source == 'model' else spec.source}",
            code="CFG121",
            at=recipe.where(("recipe", "variants", recipe.variant_name)),
            why="it is in no public repository",
            fix=f"{key}=/path/to/{spec.source}",
        )
    local = _local_path(recipe, path) if path else None
    # A directory that does not exist is refused later, with the place where it was written.
    is_file = local is not None and (Path(local).is_file() or local.endswith(".nemo"))
    return Download(
        **common,
        repo_id=None if path else repo_id,
        revision=None if path else revision,
        local_dir=None if is_file else local,
        local_file=local if is_file else None,
        include=tuple(spec.include),
        exclude=tuple(spec.exclude),
        allow_pickle=spec.allow_pickle,
        hub_cache=spec.hub_cache,
    )


def _source(recipe: Recipe, spec: StageSpec, stage_id: str) -> Any:
    sources = recipe.file.sources
    if spec.source not in sources:
        near = difflib.get_close_matches(spec.source, sources, 1, 0.4)
        raise PlanError(
            f"stage {stage_id} takes {spec.source!r}, which is no source of recipe {recipe.name}",
            code="CFG120",
            at=recipe.where(("recipe", "stages", stage_id, "source")),
            why=f"its sources are model{''.join(', ' + name for name in sources)}",
            fix=f"recipe.stages.{stage_id}.source={near[0] if near else 'model'}",
        )
    return sources[spec.source]


def _clone(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    source = _source(recipe, spec, common["id"])
    url = str(source.git)
    common["model_name"] = url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    return Clone(**common, url=url, revision=source.revision, include=tuple(spec.include))


def _env(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    common["model_name"] = "env"  # whatever model it is for
    return Env(
        **common,
        requirements=tuple(spec.requirements),
    )


def _write(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    common["model_name"] = "files"
    return Write(**common, files=tuple(spec.files.items()))


def _patch(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    return Patch(
        **common,
        edits=tuple(
            Edit(e.file, e.before, e.after, e.before_sha256, e.after_sha256) for e in spec.edits
        ),
    )


def _convert(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    script = spec.script or recipe.variant.convert_script or recipe.file.convert_script
    return Convert(
        **common | {"script": script},
        family=recipe.file.family,
        dtype=recipe.dtype,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        weight_only=WEIGHT_ONLY.get(recipe.settings.quant.name),
        model_flag=spec.model_flag,
        side_outputs=tuple(spec.side_outputs),
    )


def _quantize(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    options = recipe.quant
    return Quantize(
        **common,
        family=recipe.file.family,
        format=recipe.settings.quant.name,
        dtype=options.dtype or recipe.dtype,
        block_size=recipe.settings.quant.block_size,
        kv_cache_dtype=options.kv_cache_dtype,
        calib_size=options.calib_size,
        calib_dataset=options.calib_dataset,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
    )


def _build_llm(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    wanted = _LIMITS_OF[spec.part]

    def limit(name: str) -> int | None:
        return recipe.sizing.limits.value(name) if name in wanted else None

    return BuildLlm(
        **common,
        family=recipe.file.family,
        engine=engine,
        dtype=recipe.dtype,
        part=spec.part,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        max_batch_size=_limit(recipe, "max_batch_size"),
        # A decoder starts from one token; what it reads comes through the cross attention.
        max_input_len=1 if spec.part == "decoder" else limit("max_input_len"),
        max_seq_len=limit("max_seq_len"),
        max_num_tokens=limit("max_num_tokens"),
        max_multimodal_len=limit("max_multimodal_len"),
        max_encoder_input_len=limit("max_encoder_input_len"),
    )


_LIMITS_OF = {
    "decoder_only": frozenset(
        {
            "max_input_len",
            "max_seq_len",
            "max_num_tokens",
            "max_multimodal_len",
            "max_encoder_input_len",
        }
    ),
    "encoder": frozenset({"max_input_len", "max_multimodal_len"}),
    "decoder": frozenset({"max_seq_len", "max_encoder_input_len"}),
}
"""Limits that the engines of each part of a model have beside ``max_batch_size``."""


def _build_vision(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    limit = recipe.sizing.limits["vision.max_batch_size"]
    return BuildVision(
        **common,
        family=recipe.file.family,
        engine=engine,
        dtype=recipe.dtype,
        max_batch_size=_limit(recipe, "vision.max_batch_size"),
        is_stated=limit.source != "derived",
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
        video=None if run.video is None else _local_path(recipe, run.video),
        video_frames=run.video_frames,
        audio=None if run.audio is None else _local_path(recipe, run.audio),
        batch_size=run.batch_size,
        max_new_tokens=_new_tokens(recipe),
        repetition_penalty=run.repetition_penalty,
        seed=run.seed,
        **_sampled(run),
        enable_chunked_context=run.enable_chunked_context,
        mm_embedding_offloading=run.mm_embedding_offloading,
        kv_cache_free_gpu_memory_fraction=run.kv_cache_free_gpu_memory_fraction,
        enable_chunked_prefill=run.enable_chunked_prefill,
        run_profiling=run.run_profiling,
        check_accuracy=run.check_accuracy,
    )


def _sampled(run: RunRequest) -> dict[str, Any]:
    """Return the choices of sampling: a temperature of 0 is greedy, in words that any tool takes.

    Source: TensorRT-LLM's runtime divides by the temperature.
    """
    if run.temperature == 0:
        return {"top_k": 1, "top_p": None, "temperature": None}
    return {"top_k": run.top_k, "top_p": run.top_p, "temperature": run.temperature}


def _new_tokens(recipe: Recipe) -> int:
    return recipe.run.max_new_tokens or recipe.sizing.demand.max_new_tokens


def _eval(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    asked, run = recipe.evaluation, recipe.run
    return Eval(
        **common,
        family=recipe.file.family,
        engine=engine,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        session=recipe.settings.session,
        task=asked.task,
        dataset_dir=None if asked.dataset_dir is None else _local_path(recipe, asked.dataset_dir),
        max_ite=asked.max_ite,
        batch_size=run.batch_size,
        accuracy_threshold=asked.accuracy_threshold,
        test_trtllm=asked.test_trtllm,
        test_hf=asked.test_hf,
        max_new_tokens=run.max_new_tokens,
        enable_chunked_context=run.enable_chunked_context,
        mm_embedding_offloading=run.mm_embedding_offloading,
        kv_cache_free_gpu_memory_fraction=run.kv_cache_free_gpu_memory_fraction,
    )


def _serve(recipe: Recipe, spec: StageSpec, engine: str, common: dict[str, Any]) -> Stage:
    serve, run = recipe.settings.serve, recipe.run
    return Serve(
        **common,
        family=recipe.file.family,
        tp=recipe.settings.tp,
        pp=recipe.settings.pp,
        max_batch_size=_limit(recipe, "max_batch_size"),
        port=serve.port,
        ready_timeout_s=serve.ready_timeout_s,
        hold=serve.hold,
        prompts=tuple(listed(run.prompt)),
        images=tuple(_local_path(recipe, image) for image in listed(run.image)),
        max_new_tokens=_new_tokens(recipe),
    )


_MAKERS: dict[str, Callable[[Recipe, StageSpec, str, dict[str, Any]], Stage]] = {
    "download": _download,
    "clone": _clone,
    "env": _env,
    "write": _write,
    "patch": _patch,
    "convert": _convert,
    "quantize": _quantize,
    "build_vision": _build_vision,
    "build_llm": _build_llm,
    "assemble": _assemble,
    "run": _run,
    "eval": _eval,
    "serve": _serve,
}
