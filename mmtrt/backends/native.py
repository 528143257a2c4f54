"""mmtrt's own toolchain: torch.export lowered to ONNX Runtime, on a CPU, or to TensorRT plans."""

from __future__ import annotations

from mmtrt.backends import neutral
from mmtrt.backends.base import Command, In, Local, Out, Pair, Python, Resources, Skip, Word
from mmtrt.backends.needs import Needs
from mmtrt.backends.plan_engines import FORMATS as PLAN_FORMATS
from mmtrt.backends.plan_engines import PLAN_ENGINES, PlanTarget, plan_target
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo
from mmtrt.stages import BuildLlm, BuildVision, Convert, Env, Eval, Quantize, Run, Stage

FORMATS = ("none", "int8_wo", "int4_wo")
"""Number formats that :mod:`mmtrt.native.quantize` writes."""
ENGINES = ("onnxruntime", *PLAN_ENGINES)
DEFAULT_BLOCK_SIZE = 32
"""Weights per scale (*measured*: smallest error and fastest decode of 32 and 128 on a CPU)."""

EXPORT_TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


class Native:
    """Lower stages to ``python -m mmtrt.native.<stage>``."""

    name = "native"
    formats: tuple[str, ...] = FORMATS
    max_ranks = 1
    install_hint = "pip install 'mmtrt[native]'"

    def __init__(self, recipe: Recipe, host: HostInfo) -> None:
        """Remember the host, whose package versions enter the keys."""
        self._recipe, self._host = recipe, host
        self._plans: PlanTarget | None = None
        self._needs = Needs(recipe, native=True)

    def engine(self, asked: str) -> str:
        """Return the engine format, ``onnxruntime`` where the user leaves it open.

        Raises:
            PlanError: ENG102 for a format that this toolchain does not have; ENG104 or ENG105 for a
                plan whose GPU is not known or not supported.
        """
        if asked in PLAN_ENGINES:
            self._plans = plan_target(asked, self._recipe, self._host)
            self.formats = PLAN_FORMATS
            self.install_hint = self._plans.engine.install_hint
            return asked
        if asked in ("auto", *ENGINES):
            return "onnxruntime"
        raise PlanError(
            f"backend native cannot build engine={asked} yet",
            code="ENG102",
            fix="engine=onnxruntime",
        )

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages as they are: everything comes with mmtrt."""
        return stages

    def toolchain(self) -> dict[str, str]:
        """Return the runtime's name and version."""
        if self._plans is not None:
            return {"name": "native", "version": self._plans.title}
        version = self._host.version("onnxruntime") or "not installed"
        return {"name": "native", "version": f"onnxruntime {version}"}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return versions from package metadata; ``absent`` where a tool is not installed."""
        found = {tool: self._host.version(tool) or "absent" for tool in tools}
        return found | ({"python": self._host.python} if "python" in found else {})

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return what a plan is tied to; ``None`` for ONNX graphs, which run on any CPU."""
        return None if self._plans is None else self._plans.gpu_class

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
                Quantize: self._quantize,
                BuildVision: self._build_vision,
                BuildLlm: self._build_llm,
                Run: self._run,
                Env: lambda stage: Skip("native packages come with mmtrt"),
                Eval: self._eval,
            },
        )
        if self._plans is not None:
            command = self._plans.lowered(command, stage)
        return self._needs.of(command, stage)

    def _convert(self, stage: Convert) -> Command:
        return Command(
            argv=_module("convert", "--model-dir", In("model"), "--output-dir", Out())
            + ("--dtype", stage.dtype),
            # A model that reads and writes apart says so in the recipe: encoder/ and decoder/.
            outputs={path: path for path in ("vision", *(stage.writes or ("llm",)))},
            ignores=frozenset({"weight_only"}),
            tools=("safetensors", "transformers"),
        )

    def _quantize(self, stage: Quantize) -> Command | Skip:
        if stage.format == "none":
            return Skip("quant=none")
        return Command(
            argv=_module("quantize", "--checkpoint-dir", In("checkpoint"))
            + ("--output-dir", Out(), "--format", stage.format)
            + ("--block-size", str(stage.block_size or DEFAULT_BLOCK_SIZE)),
            outputs={"llm": "llm"},
            ignores=frozenset({"calib_size", "calib_dataset", "kv_cache_dtype", "block_size"}),
            tools=("onnxruntime", "numpy", "safetensors"),
        )

    def _build_vision(self, stage: BuildVision) -> Command:
        return Command(
            argv=_module("build_vision", "--checkpoint-dir", In("checkpoint", "vision"))
            + ("--output-dir", Out(), "--engine", stage.engine)
            + ("--max-batch-size", str(stage.max_batch_size)),
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

    def _eval(self, stage: Eval) -> Skip:
        if stage.task is None:
            return Skip("eval.task is not set")
        raise PlanError(
            f"backend {self.name} cannot evaluate yet",
            code="ENG101",
            fix="leave eval.task out, or use backend=trtllm",
        )

    def _run(self, stage: Run) -> Command:
        for name, value in (("video", stage.video), ("audio", stage.audio)):
            if value is not None:
                raise PlanError(
                    f"backend {self.name} cannot take run.{name}",
                    code="ENG101",
                    at=self._recipe.where(("run", name)),
                    why="its engines are built for pictures and text",
                    fix=f"leave run.{name} out, or use backend=trtllm",
                )
        if "engine" not in stage.needs:
            raise PlanError(
                f"variant {self._recipe.variant_name} builds no engine that backend {self.name} "
                "could run",
                code="ENG101",
                why="its stages are those of workflow=pytorch",
                fix="use backend=trtllm",
            )
        words: list[Word] = []
        # One word each: a prompt may begin with a dash.
        words += [
            Pair("--image-path=", Local(f"image{i}", image)) for i, image in enumerate(stage.images)
        ]
        words += [f"--input-text={prompt}" for prompt in stage.prompts]
        words += ["--batch-size", str(stage.batch_size)]
        words += ["--max-new-tokens", str(stage.max_new_tokens)]
        words += ["--top-k", str(stage.top_k), "--top-p", str(stage.top_p)]
        words += ["--temperature", str(stage.temperature)]
        words += ["--repetition-penalty", str(stage.repetition_penalty), "--seed", str(stage.seed)]
        if stage.run_profiling:
            words.append("--run-profiling")
        return Command(
            argv=_module("run", "--engine-dir", In("engine"), "--model-dir", In("model"))
            + ("--output-dir", Out(), *words),
            outputs={"result": "result.json"},
            resources=Resources(),
            ignores=frozenset({"session", "check_accuracy", *_RUNTIME}),
            tools=("onnxruntime", "tokenizers", "pillow", "numpy", "torch", "transformers"),
        )


_RUNTIME = (
    "enable_chunked_context",
    "enable_chunked_prefill",
    "kv_cache_free_gpu_memory_fraction",
    "mm_embedding_offloading",
    "video_frames",
)
"""Choices of TensorRT-LLM's runtime, which these engines do not have."""


def _module(stage: str, *words: Word) -> tuple[Word, ...]:
    return (Python(), "-m", f"mmtrt.native.{stage}", *words)
