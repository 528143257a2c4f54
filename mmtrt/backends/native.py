"""mmtrt's own toolchain: torch.export lowered to ONNX Runtime, on a CPU, or to TensorRT plans."""

from __future__ import annotations

import sys

from mmtrt.backends import neutral
from mmtrt.backends.aot_engines import (
    AOT_ENGINE,
    AotTarget,
    aot_target,
    auto_engine,
    formats_of,
)
from mmtrt.backends.aot_engines import MAX_RANKS as AOT_MAX_RANKS
from mmtrt.backends.base import (
    Command,
    EngineChoice,
    In,
    Local,
    Out,
    Pair,
    Python,
    Resources,
    Skip,
    Word,
)
from mmtrt.backends.native_eval import evaluation, with_drawn_questions
from mmtrt.backends.native_media import decoders, listening, media_words
from mmtrt.backends.native_quant import FORMATS, quantization
from mmtrt.backends.needs import Needs
from mmtrt.backends.plan_engines import FORMATS as PLAN_FORMATS
from mmtrt.backends.plan_engines import PLAN_ENGINES, PlanTarget, plan_target
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import BuildLlm, BuildVision, Convert, Env, Eval, Quantize, Run, Stage

ENGINES = ("onnxruntime", *PLAN_ENGINES, AOT_ENGINE)
OLDEST_PYTHON = (3, 11)
"""Source: onnxruntime 1.32 and transformers 5.23 have no release for an older one."""
_INSTALL = "pip install 'mmtrt[native]'"
_NEWER_PYTHON = f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, then {_INSTALL}"
EXPORT_TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


class Native:
    """Lower stages to ``python -m mmtrt.native.<stage>``."""

    name = "native"
    formats: tuple[str, ...] = FORMATS
    max_ranks: int = 1
    install_hint = _INSTALL if sys.version_info >= OLDEST_PYTHON else _NEWER_PYTHON

    def __init__(self, recipe: Recipe, host: HostInfo) -> None:
        """Remember the host, whose package versions enter the keys."""
        self._recipe, self._host = recipe, host
        self._target: PlanTarget | AotTarget | None = None
        """What engines are compiled for; ``None`` for ONNX graphs."""
        self.engine_choice: EngineChoice | None = None
        self._needs = Needs(recipe, native=True)
        if AOT_ENGINE in recipe.file.engines:
            # Of one engine format or another, until one is chosen.
            self.formats = tuple(dict.fromkeys((*FORMATS, *formats_of(recipe))))

    def engine(self, asked: str) -> str:
        """Return the engine format; :attr:`engine_choice` then says why.

        Raises:
            PlanError: ENG102 for a format that this toolchain does not have; ENG104 or ENG105 for a
                plan whose GPU is not known or not supported; ENG106 for packages of a model that
                they cannot hold.
        """
        if asked not in ("auto", *ENGINES):
            raise PlanError(
                f"backend native cannot build engine={asked}",
                code="ENG102",
                fix=f"engine=auto, or one of {', '.join(ENGINES)}",
            )
        name, because = asked, f"engine={asked}"
        if asked == "auto":
            name, because = auto_engine(self._recipe, self._host)
        self.formats = FORMATS
        if name in PLAN_ENGINES:
            plans = plan_target(name, self._recipe, self._host)
            self._target, self.formats = plans, PLAN_FORMATS
            self.install_hint = plans.engine.install_hint
        elif name == AOT_ENGINE:
            self._target = aot_target(self._recipe, self._host)
            self.formats = formats_of(self._recipe)
            self.max_ranks = AOT_MAX_RANKS
        self.engine_choice = EngineChoice(name, because)
        return name

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages, with one that draws a data set where a made model is evaluated."""
        stages = with_drawn_questions(stages, self._recipe)
        return self._target.prepared(stages) if isinstance(self._target, AotTarget) else stages

    def toolchain(self) -> dict[str, str]:
        """Return the runtime's name and version."""
        if self._target is not None:
            return {"name": "native", "version": self._target.title}
        version = self._host.version("onnxruntime") or "not installed"
        return {"name": "native", "version": f"onnxruntime {version}"}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return versions from package metadata; ``absent`` where a tool is not installed."""
        found = {tool: self._host.version(tool) or "absent" for tool in tools}
        return found | ({"python": self._host.python} if "python" in found else {})

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return what engines are tied to; ``None`` for ONNX graphs, which run on any CPU."""
        return None if self._target is None else self._target.gpu_class

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage.

        Raises:
            PlanError: ENG101 for a kind that this toolchain does not have.
        """
        command = neutral.lower(
            stage,
            self.name,
            {
                Convert: self._convert,
                Quantize: lambda stage: quantization(stage, self._recipe),
                BuildVision: self._build_vision,
                BuildLlm: self._build_llm,
                Run: self._run,
                Env: lambda stage: Skip("native packages come with mmtrt"),
                Eval: self._eval,
            },
        )
        if self._target is not None:
            command = self._target.lowered(command, stage)
        return self._needs.of(command, stage)

    def _convert(self, stage: Convert) -> Command:
        return Command(
            argv=_module("convert", "--model-dir", In("model"), "--output-dir", Out())
            + ("--dtype", stage.dtype, *(("--tp-size", str(stage.tp)) if stage.tp > 1 else ()))
            + listening(self._recipe),
            # A model that reads and writes apart says so in the recipe: encoder/ and decoder/.
            outputs={path: path for path in ("vision", *(stage.writes or ("llm",)))},
            tools=("safetensors", "transformers"),
        )

    def _build_vision(self, stage: BuildVision) -> Command:
        return Command(
            argv=_module("build_vision", "--checkpoint-dir", In("checkpoint", "vision"))
            + ("--output-dir", Out(), "--engine", stage.engine)
            + ("--max-batch-size", str(stage.max_batch_size))
            + listening(self._recipe, stage.engine),
            outputs={"config": "config.json", "engine": "model.onnx"},
            tools=EXPORT_TOOLS,
        )

    def _build_llm(self, stage: BuildLlm) -> Command:
        words: list[Word] = []
        for flag, value in (
            ("--max-batch-size", stage.max_batch_size),
            ("--max-input-len", stage.max_input_len),
            ("--max-seq-len", stage.max_seq_len),
            ("--max-num-tokens", stage.max_num_tokens),
            ("--max-multimodal-len", stage.max_multimodal_len),
            ("--max-encoder-input-len", stage.max_encoder_input_len),
        ):
            if value:
                words += [flag, str(value)]
        # The recipe names the component itself where there is more than one.
        place = "llm" if stage.part == "decoder_only" else ""
        return Command(
            argv=_module("build_llm", "--checkpoint-dir", In("checkpoint", place))
            + ("--output-dir", Out(), "--engine", stage.engine, *words),
            outputs={"config": "config.json", "engine": "model.onnx"},
            tools=EXPORT_TOOLS,
        )

    def _eval(self, stage: Eval) -> Command | Skip:
        new_tokens = self._recipe.sizing.demand.max_new_tokens
        return evaluation(stage, stage.max_new_tokens or new_tokens)

    def _run(self, stage: Run) -> Command:
        if "engine" not in stage.needs:
            raise PlanError(
                f"variant {self._recipe.variant_name} builds no engine that backend {self.name} "
                "could run",
                code="ENG101",
                why="its stages are those of workflow=pytorch",
                fix="use backend=trtllm",
            )
        words: list[Word] = media_words(stage, self._recipe)
        # One word each: a prompt may begin with a dash.
        words += [
            Pair("--image-path=", Local(f"image{i}", image)) for i, image in enumerate(stage.images)
        ]
        words += [f"--input-text={prompt}" for prompt in stage.prompts]
        words += ["--batch-size", str(stage.batch_size)]
        words += ["--max-new-tokens", str(stage.max_new_tokens)]
        for name in ("top_k", "top_p", "temperature", "repetition_penalty", "seed"):
            if (value := getattr(stage, name)) is not None:  # else the model's own
                words += [f"--{name.replace('_', '-')}", str(value)]
        if stage.run_profiling:
            words.append("--run-profiling")
        return Command(
            argv=_module("run", "--engine-dir", In("engine"), "--model-dir", In("model"))
            + ("--output-dir", Out(), *words),
            outputs={"result": "result.json"},
            resources=Resources(),
            tools=("onnxruntime", "tokenizers", "pillow", "numpy", "torch", "transformers")
            + decoders(stage),
        )


def _module(stage: str, *words: Word) -> tuple[Word, ...]:
    return (Python(), "-m", f"mmtrt.native.{stage}", *words)
