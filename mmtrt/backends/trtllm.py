"""TensorRT-LLM's engine flow: its conversion scripts, ``trtllm-build`` and its runner.

Source of every flag: the multimodal README and the tools' own parsers at 1.2.x.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmtrt.backends import neutral
from mmtrt.backends.base import (
    EXAMPLES_PORT,
    Command,
    EngineChoice,
    In,
    Local,
    Out,
    Pair,
    Python,
    Resources,
    Script,
    Side,
    Skip,
    Unkeyed,
    Word,
)
from mmtrt.backends.needs import Needs
from mmtrt.backends.versions import is_within
from mmtrt.config.recipe import Recipe
from mmtrt.config.stages import WEIGHT_ONLY
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import (
    BuildLlm,
    BuildVision,
    Clone,
    Convert,
    Env,
    Eval,
    Quantize,
    Run,
    Serve,
    Stage,
)
from mmtrt.stages.base import FlagValue

EXAMPLES_URL = "https://github.com/NVIDIA/TensorRT-LLM.git"
"""Where the example scripts come from on a machine that has none; the tag is ``v<version>``."""

VISION_DEFAULT = 4
"""``--max_batch_size`` of ``build_multimodal_engine.py`` where it is not given."""

FOR_VERSIONS = "; trtllm "
"""Stands in a requirement before the TensorRT-LLM versions that need it."""

UNKNOWN = "unknown"
"""Stands for the compute capability on a machine without GPU that names no target."""

CONTAINER_TENSORRT = "of the container"
"""Stands for the version on a machine that has no TensorRT."""

TIMING_CACHE = "model.cache"
"""Name that ``trtllm-build`` gives its timing cache, in its working directory."""

Values = Mapping[str, "Word | FlagValue | tuple[Word, ...] | None"]


def is_supported(version: str) -> bool:
    """Return whether a TensorRT-LLM still has the engine flow.

    Source: release notes; v1.3.0rc20 is "the last one supporting the TensorRT backend".
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+)(?:rc(\d+))?)?", version)
    if found is None:
        return False
    major, minor, patch, candidate = (int(g) if g else None for g in found.groups())
    if (major, minor) <= (1, 2):
        return True
    return (major, minor, patch) == (1, 3, 0) and candidate is not None and candidate <= 20


class Trtllm:
    """Lower stages to TensorRT-LLM's own tools."""

    name = "trtllm"
    formats = ("none", "int8_wo", "int4_wo", "int4_awq", "int8_sq", "fp8")
    max_ranks = 64
    engine_choice: EngineChoice | None = None
    install_hint = "run inside NVIDIA's TensorRT-LLM container, or: pip install tensorrt-llm==1.2.1"

    def __init__(self, recipe: Recipe, host: HostInfo) -> None:
        """Take the script locations and the target from the recipe."""
        self._recipe, self._host = recipe, host
        self._needs = Needs(recipe)
        self._version = recipe.settings.trtllm.version
        given = recipe.settings.trtllm.examples_dir
        # Whole, since every stage has a working directory of its own.
        self._examples = (
            host.trtllm_examples if given is None else str(Path(given).expanduser().absolute())
        )

    def engine(self, asked: str) -> str:
        """Return ``tensorrt``, the one format of this toolchain."""
        if asked in ("auto", "tensorrt"):
            return "tensorrt"
        raise PlanError(
            f"backend {self.name} cannot build engine={asked}", code="ENG102", fix="engine=tensorrt"
        )

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Fetch the example scripts where this machine has none, for the stages that run them.

        Environments are left with the requirements of this version, if there is one.
        """
        stages = [self._of_version(stage) if isinstance(stage, Env) else stage for stage in stages]
        if self._examples is not None:
            return stages
        using = {
            stage.id
            for stage in stages
            if isinstance(command := self.lower(stage), Command)
            and EXAMPLES_PORT in command.ports()
        }
        if not using:
            return stages
        examples = Clone(
            id=EXAMPLES_PORT,
            model_name="TensorRT-LLM",
            url=EXAMPLES_URL,
            revision=f"v{self._version}",
            include=("examples",),
        )
        return [
            examples,
            *(
                dataclasses.replace(stage, needs={**stage.needs, EXAMPLES_PORT: EXAMPLES_PORT})
                if stage.id in using
                else stage
                for stage in stages
            ),
        ]

    def _of_version(self, stage: Env) -> Env:
        parts = [each.partition(FOR_VERSIONS) for each in stage.requirements]
        meant = [name for name, _, condition in parts if self._is_meant(condition)]
        return dataclasses.replace(stage, requirements=tuple(meant)) if meant else stage

    def _is_meant(self, condition: str) -> bool:
        return not condition or is_within(self._version, condition)

    def toolchain(self) -> dict[str, str]:
        """Return the version that the commands are written for."""
        return {"name": "tensorrt-llm", "version": self._version}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return the declared TensorRT-LLM version; keys can be computed on any machine."""
        versions = {"tensorrt-llm": self._version} if "tensorrt-llm" in tools else {}
        return versions | ({"python": self._host.python} if "python" in tools else {})

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return what a TensorRT engine is tied to."""
        target, gpus = self._recipe.settings.target, self._host.gpus
        sm = target.sm if target.sm is not None else gpus[0].sm if gpus else UNKNOWN
        return {"sm": sm, "tensorrt": self._host.version("tensorrt") or CONTAINER_TENSORRT}

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage.

        Raises:
            PlanError: ENG101 for a kind that this toolchain does not have; CFG126 for a flag of the
                recipe that names no input of the stage.
        """
        own: dict[type[Stage], Callable[[Any], Command | Skip]] = {
            Env: self._env,
            Convert: self._convert,
            Quantize: self._quantize,
            BuildVision: self._build_vision,
            BuildLlm: self._build_llm,
            Run: self._run if self._recipe.workflow == "engine" else self._quickstart,
            Eval: self._eval,
            Serve: self._serve,
        }
        return self._needs.of(neutral.lower(stage, self.name, own), stage)

    def _script(self, stage: Stage, path: str) -> tuple[Word, ...]:
        # What a script asks the hub for by name is found in the cache that a stage has filled.
        hub = ("env", Pair("HF_HUB_CACHE=", In("hub"))) if "hub" in stage.needs else ()
        return (
            *hub,
            Python("env" if "env" in stage.needs else None),
            Script(self._examples, stage.script or path),
        )

    def _words(self, stage: Stage, *groups: Values, dtype: str = "") -> tuple[Word, ...]:
        """Return flags as words; of two values for one flag the later wins, at the first's place.

        A text ``{dtype}`` stands for the number format, ``{in.PORT}`` for the place of an input.
        """
        merged: dict[str, Any] = {}
        for group in groups:
            merged |= {name: value for name, value in group.items() if value is not None}
        words: list[Word] = []
        for name, value in merged.items():
            if value is False:
                continue
            words.append(f"--{name}")
            if value is not True:
                several = value if isinstance(value, (list, tuple)) else [value]
                words += [self._word(stage, each, dtype) for each in several]
        return tuple(words)

    def _word(self, stage: Stage, value: Any, dtype: str) -> Word:
        if not isinstance(value, str):
            return str(value) if isinstance(value, (int, float)) else value
        found = re.fullmatch(r"\{in\.([\w.-]+)\}(?:/(.+))?", value)
        if found is None:
            return value.replace("{dtype}", dtype)
        if found[1] not in stage.needs:
            raise PlanError(
                f"stage {stage.id} has no input {found[1]!r}, which its flags name",
                code="CFG126",
                at=self._recipe.where(("recipe", "stages", stage.id, "flags")),
                fix=f"use one of: {', '.join(stage.needs)}",
            )
        return In(found[1], found[2] or "")

    def _env(self, stage: Env) -> Command | Skip:
        others = [r.partition(FOR_VERSIONS)[2] for r in stage.requirements if FOR_VERSIONS in r]
        if others:
            return Skip(f"for TensorRT-LLM {', '.join(others)}; {self._version} pins its own")
        files: dict[str, Word] = {
            each: Script(self._examples, each.removeprefix("{examples}/"))
            for each in stage.requirements
            if each.startswith("{examples}/")
        }
        result = neutral.env(stage, files)
        if isinstance(result, Command) and files:
            # The files' content is the toolchain's.
            return dataclasses.replace(result, tools=(*result.tools, "tensorrt-llm"))
        return result

    def _convert(self, stage: Convert) -> Command:
        place: Values = {stage.model_flag: In("model"), "output_dir": Out()}
        weight_only: Values = {
            "use_weight_only": stage.weight_only is not None,
            "weight_only_precision": stage.weight_only,
        }
        written = stage.writes or ("config.json",)
        return Command(
            argv=self._script(stage, "convert_checkpoint.py")
            + self._words(
                stage,
                place,
                {"dtype": stage.dtype},
                stage.flags,
                _ranks(stage),
                weight_only,
                dtype=stage.dtype,
            ),
            cwd=Out() if stage.side_outputs else None,
            outputs={name: name for name in (*written, *stage.side_outputs)},
            # quantize.py, where a recipe converts with it, computes on a GPU.
            resources=Resources(gpus=int("quantize" in (stage.script or ""))),
            tools=("tensorrt-llm",),
        )

    def _quantize(self, stage: Quantize) -> Command | Skip:
        if stage.format == "none":
            return Skip("quant=none")
        if stage.format in WEIGHT_ONLY:
            return Skip(f"quant={stage.format} is a flag of the conversion")
        flags: Values = {
            "model_dir": In("model"),
            "output_dir": Out(),
            "dtype": stage.dtype,
            "qformat": stage.format,
            **_ranks(stage),
            "kv_cache_dtype": stage.kv_cache_dtype,
            "calib_size": stage.calib_size,
            "calib_dataset": stage.calib_dataset,
        }
        return Command(
            argv=self._script(stage, "quantization/quantize.py")
            + self._words(stage, flags, stage.flags, dtype=stage.dtype),
            outputs={"config": "config.json"},
            # The calibration set comes from a hub unless a local one is given.
            resources=Resources(gpus=stage.tp * stage.pp, network=True),
            pass_env=neutral.HUB_VARIABLES,
            tools=("tensorrt-llm",),
        )

    def _build_vision(self, stage: BuildVision) -> Command:
        written = stage.writes or ("config.json", "model.engine")
        has_engine = any(name.endswith(".engine") for name in written)
        covered = not stage.is_stated and stage.max_batch_size <= VISION_DEFAULT
        covered = covered or not has_engine
        flags: Values = {
            "model_type": self._recipe.file.trtllm_model_type,
            "model_path": In("model"),
            "output_dir": Out(),
            # Where the tool's default does, every such build is the same engine; an encoder that
            # stays in PyTorch has no batch at all.
            "max_batch_size": None if covered else stage.max_batch_size,
        }
        return Command(
            argv=self._script(stage, "models/core/multimodal/build_multimodal_engine.py")
            + self._words(stage, flags, stage.flags, dtype=stage.dtype),
            outputs={name: name for name in written},
            resources=Resources(gpus=1, network=stage.network),
            pass_env=neutral.HUB_VARIABLES,
            tools=("tensorrt-llm",),
        )

    def _build_llm(self, stage: BuildLlm) -> Command:
        limits: Values = {
            "max_batch_size": stage.max_batch_size,
            "max_input_len": stage.max_input_len,
            "max_seq_len": stage.max_seq_len,
            "max_num_tokens": stage.max_num_tokens,
            "max_multimodal_len": stage.max_multimodal_len,
            "max_encoder_input_len": stage.max_encoder_input_len,
        }
        ranks = stage.tp * stage.pp
        argv: list[Word] = ["trtllm-build", "--checkpoint_dir", In("checkpoint")]
        argv += ["--output_dir", Out()]
        argv += self._words(stage, stage.flags, limits, dtype=stage.dtype)
        cache = self._timing_cache()
        argv += [Unkeyed("--workers"), Unkeyed(str(ranks))] if ranks > 1 else []
        argv += [Unkeyed("--input_timing_cache"), Unkeyed(cache)]
        argv += [Unkeyed("--output_timing_cache"), Unkeyed(TIMING_CACHE)]
        return Command(
            argv=tuple(argv),
            outputs={"config": "config.json"}
            | {f"rank{rank}": f"rank{rank}.engine" for rank in range(ranks)},
            resources=Resources(gpus=ranks),
            tools=("tensorrt-llm",),
            keeps={TIMING_CACHE: cache},
        )

    def _timing_cache(self) -> Side:
        """Return the cache of this GPU class; a cache of another is refused by TensorRT."""
        name = re.sub(r"[^\w.-]+", "-", self._timing_class())
        return Side(f"timing/{name}.cache")

    def _timing_class(self) -> str:
        gpu = self.gpu_class() or {}
        known = [f"sm{gpu['sm']}"] if gpu["sm"] != UNKNOWN else []
        known += [str(gpu["tensorrt"])] if gpu["tensorrt"] != CONTAINER_TENSORRT else []
        return "-".join(["trtllm", self._version, *known])

    def _mpirun(self, ranks: int) -> tuple[Word, ...]:
        if ranks == 1:
            return ()
        root = (Unkeyed("--allow-run-as-root"),) if self._host.is_root else ()
        return ("mpirun", "-n", str(ranks), *root)

    def _run(self, stage: Run) -> Command:
        ranks = stage.tp * stage.pp
        asked: Values = {
            "max_new_tokens": stage.max_new_tokens,
            "hf_model_dir": In("model"),
            "engine_dir": In("engine"),
            "image_path": _pictures(stage.images),
            "video_path": None if stage.video is None else _local("video", stage.video),
            "video_num_frames": stage.video_frames,
            "audio_path": None if stage.audio is None else _local("audio", stage.audio),
            "input_text": stage.prompts or None,
            "batch_size": _unless(stage.batch_size, 1),
            "top_k": stage.top_k,
            "top_p": stage.top_p,
            "temperature": stage.temperature,
            "repetition_penalty": stage.repetition_penalty,
            "run_profiling": stage.run_profiling,
            "check_accuracy": stage.check_accuracy,
        }
        return Command(
            argv=self._mpirun(ranks)
            + self._script(stage, "models/core/multimodal/run.py")
            + self._words(stage, asked, _runtime(stage), stage.flags),
            resources=Resources(
                gpus=ranks, network=_fetches(stage, self._recipe.file.runner.image == "sample")
            ),
            pass_env=neutral.HUB_VARIABLES,
            tools=("tensorrt-llm",),
            harvest="run_log",
        )

    def _quickstart(self, stage: Run) -> Command:
        """Ask a model without engines: ``workflow=pytorch``."""
        media = _pictures(stage.images)
        modality = "image"
        for name, place in (("video", stage.video), ("audio", stage.audio)):
            if place is not None:
                media, modality = (_local(name, place),), name
        if len(stage.images) > 1:
            modality = "multiple_image"
        asked: Values = {
            "model_dir": In("model"),
            "modality": modality,
            "media": media,
            "prompt": stage.prompts or None,
            "num_frames": stage.video_frames,
            "max_tokens": stage.max_new_tokens,
            "top_k": stage.top_k,
            "top_p": stage.top_p,
            "temperature": stage.temperature,
            "enable_chunked_prefill": stage.enable_chunked_prefill,
            "kv_cache_fraction": stage.kv_cache_free_gpu_memory_fraction,
            **_ranks(stage),
        }
        return Command(
            argv=self._script(stage, "llm-api/quickstart_multimodal.py")
            + self._words(stage, asked, stage.flags),
            resources=Resources(gpus=stage.tp * stage.pp, network=_fetches(stage)),
            pass_env=neutral.HUB_VARIABLES,
            tools=("tensorrt-llm",),
            harvest="quickstart_log",
        )

    def _eval(self, stage: Eval) -> Command | Skip:
        if stage.task is None:
            return Skip("eval.task is not set")
        ranks = stage.tp * stage.pp
        data = stage.dataset_dir
        asked: Values = {
            "model_type": self._recipe.file.trtllm_model_type,
            "engine_dir": In("engine"),
            "hf_model_dir": In("model"),
            "dataset_dir": None if data is None else _local("dataset", data),
            "test_trtllm": stage.test_trtllm,
            "test_hf": stage.test_hf,
            "accuracy_threshold": _short(stage.accuracy_threshold),
            "eval_task": stage.task,
            "max_ite": _unless(stage.max_ite, 20),
            "max_new_tokens": stage.max_new_tokens,
        }
        return Command(
            argv=self._mpirun(ranks)
            + self._script(stage, "models/core/multimodal/eval.py")
            + self._words(stage, asked, _runtime(stage), stage.flags),
            resources=Resources(gpus=ranks, network=data is None or stage.network),
            pass_env=neutral.HUB_VARIABLES,
            tools=("tensorrt-llm",),
            harvest="eval_log",
        )

    def _serve(self, stage: Serve) -> Command:
        words: list[Word] = [Python(), "-m", "mmtrt.tasks.serve", "--output-dir", Out()]
        words += ["--url", f"http://127.0.0.1:{stage.port}"]
        words += [Unkeyed("--ready-timeout-s"), Unkeyed(f"{stage.ready_timeout_s:g}")]
        words += ["--max-tokens", str(stage.max_new_tokens)]
        # One word each: a prompt may begin with a dash.
        words += [f"--input-text={prompt}" for prompt in stage.prompts]
        for picture in _pictures(stage.images) or ():
            words += ["--image-path", picture]
        words += [Unkeyed("--hold")] if stage.hold else []
        served: Values = {
            "backend": "pytorch",
            "tp_size": stage.tp,
            "pp_size": _unless(stage.pp, 1),
            "port": stage.port,
            "max_batch_size": stage.max_batch_size,
        }
        words += ["--", "trtllm-serve", In("model"), *self._words(stage, served, stage.flags)]
        return Command(
            argv=tuple(words),
            outputs={"server": "server.json"},
            resources=Resources(gpus=stage.tp * stage.pp),
            tools=("tensorrt-llm",),
        )


def _ranks(stage: Convert | Quantize | Run) -> Values:
    return {"tp_size": _unless(stage.tp, 1), "pp_size": _unless(stage.pp, 1)}


def _runtime(stage: Run | Eval) -> Values:
    """Return what only ``cpp_llm_only`` heeds, and the session itself."""
    offloading = stage.mm_embedding_offloading
    return {
        "session": stage.session,
        "enable_chunked_context": stage.enable_chunked_context,
        "mm_embedding_offloading": None if offloading is None else str(offloading).lower(),
        "kv_cache_free_gpu_memory_fraction": stage.kv_cache_free_gpu_memory_fraction,
    }


def _fetches(stage: Run, takes_sample: bool = False) -> bool:
    """Return whether the runner needs the network.

    Without a picture or video it fetches its own sample; of some families (``takes_sample``)
    whatever is named.
    """
    seen = [*stage.images, *([stage.video] if stage.video is not None else [])]
    media = [*seen, *([stage.audio] if stage.audio is not None else [])]
    return stage.network or takes_sample or not seen or any("://" in each for each in media)


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _pictures(images: tuple[str, ...]) -> tuple[Word, ...] | None:
    return tuple(_local(f"image{index}", image) for index, image in enumerate(images)) or None


def _local(name: str, place: str) -> Word:
    if place.startswith(("http://", "https://")):
        return place
    if place.startswith("{model}/"):  # a sample that comes with the model
        return In("model", place.removeprefix("{model}/"))
    return Local(name, place)
