"""The typed shape of everything that YAML files and overrides may say.

What Hydra composes is read into :class:`Settings` by :mod:`mmtrt.config.typed`; nothing further
down sees a Hydra object. A field's docstring is its reference text. A field without default must
be said; ``None`` means "derive it" or "the recipe's own choice", as the docstring says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mmtrt.config.typed import Length, Range

Count = Annotated[int, Range(1)]
Amount = Annotated[int, Range(0)]
Seconds = Annotated[float, Range(0)]
Size = Annotated[list[Count], Length(2)]
"""[height, width] in pixels."""

Several = str | list[str] | None
"""One text, a list of them, or none; :func:`listed` makes them alike."""

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
EngineName = Literal["auto", "onnxruntime", "tensorrt", "tensorrt_rtx", "aot_inductor"]
BackendName = Literal["auto", "native", "trtllm", "fake"]
QuantName = Literal["none", "int8_wo", "int4_wo", "int4_awq", "int8_sq", "fp8"]
Workflow = Literal["engine", "pytorch"]
StageKind = Literal[
    "download",
    "patch",
    "convert",
    "quantize",
    "build_llm",
    "build_vision",
    "assemble",
    "run",
]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What sizes and rules need to know of a checkpoint before it is downloaded.

    A local ``config.json`` refines them. Source of each: the model's own ``config.json`` and
    ``preprocessor_config.json`` at the revision beside it.
    """

    image_size: Size
    """[height, width] in pixels that the vision encoder sees."""
    patch_size: Count
    """Side of a vision patch in pixels."""
    hidden_size: Count
    vocab_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    max_position_embeddings: Count
    dtype: Dtype = "float16"
    """Number format of the published weights."""
    image_grid_pinpoints: list[Size] | None = None
    """[height, width] resolutions an any-resolution model may choose from."""


@dataclass(frozen=True, kw_only=True)
class LimitChoices:
    """Limits that are stated; what is not stated is derived."""

    max_batch_size: Count | None = None
    max_input_len: Count | None = None
    """Prompt tokens of one request, image placeholders included."""
    max_seq_len: Count | None = None
    """Prompt and new tokens of one request."""
    max_num_tokens: Count | None = None
    """Tokens of all requests in one step."""
    max_multimodal_len: Amount | None = None
    """Rows of the prompt-embedding table, all requests together."""
    max_encoder_input_len: Amount | None = None
    vision: VisionLimits = field(default_factory=lambda: VisionLimits())


@dataclass(frozen=True, kw_only=True)
class VisionLimits:
    """Limits of the vision engine."""

    max_batch_size: Count | None = None
    """Images, tiles, patches or frames, as the family counts them."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The largest request that the engines must serve; the recipe's where ``None``."""

    batch_size: Count | None = None
    images_per_request: Count | None = None
    image_size: Size | None = None
    """[height, width] in pixels; ``None`` takes the worst case of the model."""
    video_frames: Count | None = None
    audio_seconds: Seconds | None = None
    text_tokens: Count | None = None
    max_new_tokens: Count | None = None


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One actual request; it must fit the limits."""

    prompt: Several = None
    image: Several = None
    """Local path, URL, or ``asset://name`` for a picture that ships with mmtrt."""
    video: str | None = None
    video_frames: Count | None = None
    audio: str | None = None
    batch_size: Count = 1
    max_new_tokens: Count | None = None
    top_k: Amount = 1
    """1 is greedy."""
    top_p: Annotated[float, Range(0, 1)] = 0.0
    temperature: Annotated[float, Range(0)] = 1.0
    repetition_penalty: Annotated[float, Range(0)] = 1.0
    seed: Amount = 0
    enable_chunked_context: bool = False
    mm_embedding_offloading: bool | None = None
    kv_cache_free_gpu_memory_fraction: Annotated[float, Range(0, 1)] | None = None
    enable_chunked_prefill: bool = False
    check_accuracy: bool = False
    run_profiling: bool = False


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """Which data set decides whether the engines are good enough."""

    task: Literal["lmms-lab/ai2d", "lmms-lab/VQAv2", "lmms-lab/MME"] | None = None
    dataset_dir: str | None = None
    max_ite: Count = 20
    accuracy_threshold: Annotated[float, Range(0, 100)] | None = None
    """Per cent; below it the exit code is 3."""
    test_trtllm: bool = True
    test_hf: bool = False


@dataclass(frozen=True, kw_only=True)
class EditSpec:
    """One content-checked edit of a patch stage."""

    file: str
    before: str
    after: str
    before_sha256: str | None = None
    after_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One node of a recipe's graph."""

    kind: StageKind
    needs: dict[str, str] = field(default_factory=dict)
    """Port -> id of the stage that feeds it."""
    include: list[str] = field(default_factory=list)
    """download: glob patterns of the files to take."""
    exclude: list[str] = field(default_factory=list)
    """download: glob patterns of files to leave out."""
    allow_pickle: bool = False
    """download: whether weights that execute code on loading may be taken."""
    edits: list[EditSpec] = field(default_factory=list)
    """patch: what to change."""
    plugins: list[Literal["gemm", "gpt_attention"]] = field(default_factory=list)
    """build_llm: TensorRT-LLM plugins to switch on, in the checkpoint's dtype."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One checkpoint of a recipe."""

    repo_id: str | None = None
    revision: str | None = None
    """Commit hash, quoted: unquoted, YAML may read it as a number."""
    path: str | None = None
    """Local directory, or ``asset://name`` for a model that ships with mmtrt."""
    model_name: str | None = None
    """Directory name of the artifacts; the repository's name where ``None``."""
    license: str | None = None
    facts: ModelFacts
    dtype: Dtype | None = None
    limits: LimitChoices = field(default_factory=LimitChoices)
    workload: Workload = field(default_factory=Workload)
    run: dict[str, Any] = field(default_factory=dict)
    """Defaults for ``run.*`` keys that the user leaves unset."""
    backend: BackendName | None = None
    """The backend that ``backend=auto`` must take for this checkpoint."""


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """One model family: a YAML file below ``recipes/recipe/``."""

    name: str
    title: str
    summary: str
    readme_section: str
    """Heading of the TensorRT-LLM multimodal README that this recipe stands for."""
    family: str
    """Which feature calculator and which native module know this architecture."""
    hf_model_type: str
    """``model_type`` that the checkpoint's ``config.json`` must state."""
    trtllm_model_type: str
    """``--model_type`` of ``build_multimodal_engine.py``."""
    convert_script: str
    """Directory of ``convert_checkpoint.py`` below ``examples/models``, such as ``core/llama``."""
    default_variant: str
    variants: dict[str, Variant]
    stages: dict[str, StageSpec]
    quants: list[QuantName]
    sessions: list[str]
    backends: list[BackendName]
    workflow: Workflow = "engine"
    dtype: Dtype
    limits: LimitChoices = field(default_factory=LimitChoices)
    workload: Workload = field(default_factory=Workload)
    run: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """One file below ``recipes/backend/``."""

    name: BackendName


@dataclass(frozen=True, kw_only=True)
class QuantChoice:
    """One file below ``recipes/quant/``."""

    name: QuantName
    block_size: Count | None = None
    """Weights per scale where the toolchain lets one choose."""
    kv_cache_dtype: Literal["int8", "fp8"] | None = None
    calib_size: Count | None = None
    calib_dataset: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutorChoice:
    """One file below ``recipes/executor/``: where commands run, and how patiently."""

    name: Literal["local"]
    jobs: Count | None = None
    """Stages at once; ``None``: the number of CPU cores."""
    stage_timeout_s: Seconds | None = None
    network_retries: Amount = 3
    grace_s: Seconds = 5.0
    """Seconds between SIGTERM and SIGKILL when a stage must end."""
    heartbeat_s: Annotated[float, Range(0.1)] = 10.0
    keep_going: bool = False
    """Whether independent stages go on after one has failed."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Overrides of where the model comes from."""

    path: str | None = None
    projector: str | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrtllmChoice:
    """Which TensorRT-LLM the commands are for."""

    version: str = "1.2.1"
    """Quoted: unquoted 1.10 is the number 1.1."""
    examples_dir: str | None = None
    """Directory of TensorRT-LLM's ``examples``; ``None`` takes the container's."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The machine that the engines are for; this host where ``None``."""

    sm: Count | None = None
    """Compute capability without the dot, such as 90."""
    gpu_memory_gib: Annotated[float, Range(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where artifacts and records lie; relative paths are meant from the current directory."""

    store: str
    runs: str
    remote: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settings(LimitChoices):
    """Everything one command line says, after composition."""

    recipe: RecipeFile
    backend: BackendChoice
    quant: QuantChoice
    executor: ExecutorChoice
    variant: str | None = None
    engine: EngineName = "auto"
    workflow: Workflow | None = None
    dtype: Dtype | None = None
    tp: Count = 1
    pp: Count = 1
    session: str | None = None
    model: ModelSource = field(default_factory=ModelSource)
    trtllm: TrtllmChoice = field(default_factory=TrtllmChoice)
    target: Target = field(default_factory=Target)
    workload: Workload = field(default_factory=Workload)
    run: RunRequest = field(default_factory=RunRequest)
    eval: EvalRequest = field(default_factory=EvalRequest)
    until: str | None = None
    """Last stage to run, by id."""
    only: Several = None
    """Run just these stages; what they need must be in the store."""
    force: Several = None
    """Run these stages although the store has their output; ``all`` for every stage."""
    paths: Paths


def listed(value: Several) -> list[str]:
    """Return one text or many as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
