"""TensorRT-LLM's engine flow: its conversion scripts, ``trtllm-build`` and its runner.

Source of every flag: the multimodal README and the tools' own parsers at 1.2.x.
"""

from __future__ import annotations

import re
from typing import Any

from mmtrt.backends import neutral
from mmtrt.backends.base import Command, In, Local, Out, Python, Resources, Script, Skip, Word
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import BuildLlm, BuildVision, Convert, Quantize, Run, Stage

CONTAINER_EXAMPLES = "/app/tensorrt_llm/examples"
"""Where NVIDIA's release containers keep the example scripts."""

WEIGHT_ONLY = {"int8_wo": "int8", "int4_wo": "int4"}
"""Formats that ``convert_checkpoint.py`` writes itself; the others need ``quantize.py``."""


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
    install_hint = "run inside NVIDIA's TensorRT-LLM container, or: pip install tensorrt-llm==1.2.1"

    def __init__(self, recipe: Recipe, host: HostInfo) -> None:
        """Take the script locations and the target from the recipe."""
        self._recipe, self._host = recipe, host
        self._examples = recipe.settings.trtllm.examples_dir or CONTAINER_EXAMPLES

    def engine(self, asked: str) -> str:
        """Return ``tensorrt``, the one format of this toolchain."""
        if asked in ("auto", "tensorrt"):
            return "tensorrt"
        raise PlanError(
            f"backend trtllm cannot build engine={asked}", code="ENG102", fix="engine=tensorrt"
        )

    def toolchain(self) -> dict[str, str]:
        """Return the version that the commands are written for."""
        return {"name": "tensorrt-llm", "version": self._recipe.settings.trtllm.version}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return the declared TensorRT-LLM version; keys can be computed on any machine."""
        return {"tensorrt-llm": self._recipe.settings.trtllm.version} if tools else {}

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return what a TensorRT engine is tied to."""
        target, gpus = self._recipe.settings.target, self._host.gpus
        sm = target.sm if target.sm is not None else gpus[0].sm if gpus else "unknown"
        return {"sm": sm, "tensorrt": self._host.version("tensorrt") or "of the container"}

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage.

        Raises:
            PlanError: ENG101 for a kind that this toolchain does not have.
        """
        return neutral.lower(
            stage,
            self.name,
            {
                Convert: self._convert,
                Quantize: self._quantize,
                BuildVision: self._build_vision,
                BuildLlm: self._build_llm,
                Run: self._run,
            },
        )

    def _script(self, path: str) -> tuple[Word, ...]:
        return (Python(), Script(self._examples, path))

    def _convert(self, stage: Convert) -> Command:
        words = _parallel_flags(stage.tp, stage.pp)
        if stage.weight_only is not None:
            words += ["--use_weight_only", "--weight_only_precision", stage.weight_only]
        script = f"models/{self._recipe.file.convert_script}/convert_checkpoint.py"
        return Command(
            argv=self._script(script)
            + ("--model_dir", In("model"), "--output_dir", Out(), "--dtype", stage.dtype, *words),
            outputs={"config": "config.json"},
            tools=("tensorrt-llm",),
        )

    def _quantize(self, stage: Quantize) -> Command | Skip:
        if stage.format == "none":
            return Skip("quant=none")
        if stage.format in WEIGHT_ONLY:
            return Skip(f"quant={stage.format} is a flag of the conversion")
        words = _parallel_flags(stage.tp, stage.pp)
        for flag, value in (
            ("--kv_cache_dtype", stage.kv_cache_dtype),
            ("--calib_size", stage.calib_size),
            ("--calib_dataset", stage.calib_dataset),
        ):
            if value is not None:
                words += [flag, str(value)]
        return Command(
            argv=self._script("quantization/quantize.py")
            + ("--model_dir", In("model"), "--output_dir", Out(), "--dtype", stage.dtype)
            + ("--qformat", stage.format, *words),
            outputs={"config": "config.json"},
            # The calibration set comes from a hub unless a local one is given.
            resources=Resources(gpus=stage.tp * stage.pp, network=True),
            pass_env=neutral.HUB_VARIABLES,
            ignores=frozenset({"block_size"}),
            tools=("tensorrt-llm",),
        )

    def _build_vision(self, stage: BuildVision) -> Command:
        return Command(
            argv=self._script("models/core/multimodal/build_multimodal_engine.py")
            + ("--model_path", In("model"), "--output_dir", Out())
            + ("--model_type", self._recipe.file.trtllm_model_type)
            + ("--max_batch_size", str(stage.max_batch_size)),
            outputs={"config": "config.json"},
            resources=Resources(gpus=1),
            tools=("tensorrt-llm",),
        )

    def _build_llm(self, stage: BuildLlm) -> Command:
        words: list[Word] = [f"--{plugin}_plugin={stage.dtype}" for plugin in stage.plugins]
        if self._recipe.settings.quant.name == "none":
            words.append("--use_fused_mlp=enable")
        for flag, value in (
            ("--max_batch_size", stage.max_batch_size),
            ("--max_input_len", stage.max_input_len),
            ("--max_seq_len", stage.max_seq_len),
            ("--max_num_tokens", stage.max_num_tokens),
            ("--max_multimodal_len", stage.max_multimodal_len),
            ("--max_encoder_input_len", stage.max_encoder_input_len),
        ):
            if value is not None:
                words += [flag, str(value)]
        ranks = stage.tp * stage.pp
        if ranks > 1:
            words += ["--workers", str(ranks)]
        return Command(
            argv=("trtllm-build", "--checkpoint_dir", In("checkpoint"), "--output_dir", Out())
            + tuple(words),
            outputs={"config": "config.json"},
            resources=Resources(gpus=ranks),
            tools=("tensorrt-llm",),
        )

    def _run(self, stage: Run) -> Command:
        ranks = stage.tp * stage.pp
        words: list[Word] = ["--max_new_tokens", str(stage.max_new_tokens)]
        words += ["--hf_model_dir", In("model"), "--engine_dir", In("engine")]
        if stage.images:
            words += ["--image_path", *(_image(i, image) for i, image in enumerate(stage.images))]
        if stage.prompts:
            words += ["--input_text", *stage.prompts]
        defaults: dict[str, tuple[Any, Any]] = {
            "batch_size": (stage.batch_size, 1),
            "top_k": (stage.top_k, 1),
            "top_p": (stage.top_p, 0.0),
            "temperature": (stage.temperature, 1.0),
            "repetition_penalty": (stage.repetition_penalty, 1.0),
            "session": (stage.session, None),
        }
        for name, (value, default) in defaults.items():
            if value != default:
                words += [f"--{name}", str(value)]
        words += [f"--{n}" for n in ("run_profiling", "check_accuracy") if getattr(stage, n)]
        mpi: tuple[Word, ...] = ("mpirun", "-n", str(ranks)) if ranks > 1 else ()
        return Command(
            argv=mpi + self._script("models/core/multimodal/run.py") + tuple(words),
            # Without a picture run.py fetches its own sample.
            resources=Resources(gpus=ranks, network=not stage.images),
            pass_env=neutral.HUB_VARIABLES,
            ignores=frozenset({"seed"}),
            tools=("tensorrt-llm",),
        )


def _parallel_flags(tp: int, pp: int) -> list[Word]:
    words: list[Word] = []
    if tp > 1:
        words += ["--tp_size", str(tp)]
    if pp > 1:
        words += ["--pp_size", str(pp)]
    return words


def _image(index: int, image: str) -> Word:
    return image if image.startswith(("http://", "https://")) else Local(f"image{index}", image)
