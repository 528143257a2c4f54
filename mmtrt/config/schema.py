"""The typed shape of everything that YAML files and overrides may say.

What Hydra composes is read into :class:`Settings` by :mod:`mmtrt.config.typed`; nothing further
down sees a Hydra object. A field's docstring is its reference text. A field without default must
be said; ``None`` means "derive it" or "the recipe's own choice", as the docstring says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mmtrt.config.typed import Length, Range

INT32 = 2**31 - 1
"""The largest number that TensorRT-LLM's flags and engines take."""
Count = Annotated[int, Range(1, INT32)]
Amount = Annotated[int, Range(0, INT32)]
Seed = Annotated[int, Range(0, 2**64 - 1)]
Seconds = Annotated[float, Range(0, 604_800)]
"""Up to a week."""
Size = Annotated[list[Count], Length(2)]
"""[height, width] in pixels."""

Several = str | list[str] | None
"""One text, a list of them, or none; :func:`listed` makes them alike."""

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
EngineName = Literal["auto", "onnxruntime", "tensorrt", "tensorrt_rtx", "aot_inductor"]
BackendName = Literal["auto", "native", "trtllm", "fake"]
QuantName = Literal["none", "int8_wo", "int4_wo", "int4_awq", "int8_sq", "fp8"]
Workflow = Literal["engine", "pytorch"]
SessionName = Literal["cpp_llm_only", "cpp", "python"]
EvalTask = Literal["lmms-lab/ai2d", "lmms-lab/VQAv2", "lmms-lab/MME"]
StageKind = Literal[
    "download",
    "clone",
    "env",
    "write",
    "patch",
    "convert",
    "quantize",
    "build_llm",
    "build_vision",
    "assemble",
    "run",
    "eval",
    "serve",
]

PromptTable = Literal["features", "prompt"]
"""Rows that each request may have in the prompt-embedding table: what its pictures need, or as many
as its prompt may have tokens."""
VisualInput = Literal["prompt_table", "cross_attention"]
"""How visual features reach the language model."""
Architecture = Literal["decoder", "encoder_decoder"]
"""Of the language model."""

PictureInput = Literal["any", "local", "sample", "refused", "none"]
"""Pictures that the runner looks at: files and addresses, files alone, its own sample whatever is
named; or it fails with any that is named; or it has no use for one."""
Pairing = Literal["one", "first", "pairs", "marks", "lists"]
"""Which prompts and pictures belong together. ``one``: the first prompt and the only picture.
``first``: the first of each. ``pairs``: as many prompts as requests, and as many pictures or a
single one. ``marks``: the same without the exception, but a lone prompt takes as many pictures as
it has marks. ``lists``: item i of each for request i; what is left over is dropped."""

Flag = bool | int | float | str | list[str] | None
"""Value of a tool's flag: ``true`` for a bare flag, a list for several words, ``null`` for none.

``{dtype}`` stands for the checkpoint's number format, ``{in.PORT}`` for the place of an input.
"""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What sizes and rules need to know of a checkpoint before it is downloaded.

    A local ``config.json`` refines them. Source of each: the model's own ``config.json`` and
    ``preprocessor_config.json`` at the revision beside it.
    """

    image_size: Size | None = None
    """[height, width] in pixels that the vision encoder sees; for fuyu the largest it takes."""
    patch_size: Count | None = None
    """Side of a vision patch in pixels."""
    image_tokens: Count | None = None
    """Visual features of one picture, or of one tile, where the model fixes them."""
    image_grid_pinpoints: list[Size] | None = None
    """[height, width] resolutions an any-resolution model may choose from."""
    max_tiles: Count | None = None
    """Most tiles of one picture, the overview tile not counted; llava_onevision: the nine of
    ``anyres_max_9``."""
    spatial_merge_size: Count | None = None
    """Side, in patches, of the square that becomes one feature."""
    min_pixels: Count | None = None
    """Pixels that a smaller picture is enlarged to."""
    max_pixels: Count | None = None
    """Pixels that a larger picture is shrunk to."""
    max_patches: Count | None = None
    """Rows that a picture is padded to, whatever its size."""
    num_frames: Count | None = None
    """Frames of one video where the model fixes them."""
    frame_tokens: Count | None = None
    """Visual features of one video frame."""
    hidden_size: Count | None = None
    """Width of the language model; ``None`` here and below: not known before the file is there."""
    vocab_size: Count | None = None
    num_hidden_layers: Count | None = None
    num_attention_heads: Count | None = None
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    """Width of one attention head where it is not ``hidden_size / num_attention_heads``."""
    intermediate_size: Count | None = None
    max_position_embeddings: Count | None = None
    parameters: Annotated[int, Range(1)] | None = None
    """Number of weights of the whole checkpoint."""
    dtype: Dtype = "float16"
    """Number format of the published weights."""


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
    """Frames of one video. Without ``image_size`` a model of both is sized for videos alone."""
    audio_seconds: Seconds | None = None
    """Length of one request's sound."""
    text_tokens: Count | None = None
    """Prompt tokens beside the pictures; ``None`` keeps the room that the recipe has for them."""
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
    top_k: Amount | None = None
    """Sample among this many of the likeliest tokens, 0: among all; ``None`` and 1 are greedy,
    whatever the checkpoint's own settings say, so that answers can be repeated."""
    top_p: Annotated[float, Range(0, 1)] | None = None
    """Where tokens are sampled, among the fewest that make up this probability; 0 is off. ``None``,
    here and below: as the checkpoint's ``generation_config.json`` says."""
    temperature: Annotated[float, Range(0, 1000)] | None = None
    """Divides the logits where tokens are sampled; 0 is greedy."""
    repetition_penalty: Annotated[float, Range(0.001, 1000, usual=1)] | None = None
    """Divides the logits of tokens that were there before; 1 is off."""
    seed: Seed = 0
    enable_chunked_context: bool = False
    mm_embedding_offloading: bool | None = None
    kv_cache_free_gpu_memory_fraction: Annotated[float, Range(0.01, 1)] | None = None
    enable_chunked_prefill: bool = False
    check_accuracy: bool = False
    run_profiling: bool = False


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """Which data set decides whether the engines are good enough."""

    task: EvalTask | None = None
    """Without a task the recipe's ``eval`` stage is skipped."""
    dataset_dir: str | None = None
    max_ite: Count = 20
    accuracy_threshold: Annotated[float, Range(0, 100)] | None = None
    """Per cent; below it the exit code is 3."""
    test_trtllm: bool = True
    test_hf: bool = False


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """How the ``serve`` stage starts a server; it is asked ``run.prompt`` once it is ready."""

    port: Annotated[int, Range(1, 65535)] = 8000
    ready_timeout_s: Annotated[float, Range(1, 604_800)] = 600.0
    hold: bool = False
    """Whether the server stays up until Ctrl-C; otherwise it is stopped after its first answer."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something that a recipe fetches beside the model; one of the three places is said."""

    repo_id: str | None = None
    """Repository on the hub."""
    git: str | None = None
    """URL of a git repository."""
    revision: str = "main"
    """Commit hash, quoted; a branch or tag moves."""
    key: Literal["model.projector"] | None = None
    """The override that names a file or directory of the user's."""


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
    """Port -> id of the stage that feeds it, or ``id/path`` for a place below its output."""
    source: str = "model"
    """download, clone: what to fetch; ``model`` or a name of the recipe's ``sources``."""
    include: list[str] = field(default_factory=list)
    """download: glob patterns of the files to take. clone: directories to take."""
    exclude: list[str] = field(default_factory=list)
    """download: glob patterns of files to leave out."""
    allow_pickle: bool = False
    """download: whether weights that execute code on loading may be taken."""
    hub_cache: bool = False
    """download: lay the files out as the hub's cache does, for a tool that asks the hub for them by
    the repository's name."""
    edits: list[EditSpec] = field(default_factory=list)
    """patch: what to change."""
    requirements: list[str] = field(default_factory=list)
    """env: what to install, as pip writes it; ``{examples}/...`` names a requirements file. One
    that ends in ``; trtllm <1.2`` is for these TensorRT-LLM versions."""
    files: dict[str, str] = field(default_factory=dict)
    """write: name -> text."""
    script: str | None = None
    """Example script to run, below TensorRT-LLM's ``examples``; the kind's own where ``None``."""
    model_flag: str = "model_dir"
    """convert: the script's flag for its input."""
    part: Literal["decoder_only", "encoder", "decoder"] = "decoder_only"
    """build_llm: which engine of the model; encoder and decoder have other limits."""
    flags: dict[str, Flag] = field(default_factory=dict)
    """Further flags of TensorRT-LLM's tool, without dashes."""
    writes: list[str] = field(default_factory=list)
    """Files that must be there afterwards; the kind's own where empty."""
    side_outputs: list[str] = field(default_factory=list)
    """Files that the tool leaves in its working directory, which is then the output itself."""
    network: bool = False
    """Whether the tool fetches something by itself."""
    on_demand: bool = False
    """Whether it runs only when ``until=`` or ``only=`` names it."""


@dataclass(frozen=True, kw_only=True)
class Generate:
    """A checkpoint that is made here: random weights, a real tokenizer and processor."""

    model: str | None = None
    """Which one, as :mod:`mmtrt.native.make_tiny` calls it; the recipe's family where ``None``."""
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One checkpoint of a recipe."""

    repo_id: str | None = None
    revision: str | None = None
    """Commit hash, quoted: unquoted, YAML may read it as a number."""
    path: str | None = None
    """Local directory, or ``asset://name`` for a model that ships with mmtrt."""
    generate: Generate | None = None
    """Make the checkpoint on this machine."""
    model_name: str | None = None
    """Directory name of the artifacts; the repository's name where ``None``."""
    name_words: list[str] | None = None
    """The recipe's where ``None``."""
    license: str | None = None
    hf_model_type: str | None = None
    """``model_type`` of this checkpoint; the recipe's where ``None``."""
    facts: ModelFacts
    dtype: Dtype | None = None
    convert_script: str | None = None
    stages: dict[str, StageSpec | None] = field(default_factory=dict)
    """Stages that this checkpoint has in place of the recipe's; ``null`` takes one away."""
    prompt_table: PromptTable | None = None
    visual_input: VisualInput | None = None
    architecture: Architecture | None = None
    workflow: Workflow | None = None
    """The recipe's where ``None``, here and for the three above."""
    limits: LimitChoices = field(default_factory=LimitChoices)
    workload: Workload = field(default_factory=Workload)
    run: dict[str, Any] = field(default_factory=dict)
    """Defaults for ``run.*`` keys that the user leaves unset."""
    sessions: list[SessionName] | None = None
    """Sessions of this checkpoint; the recipe's where ``None``."""
    backend: BackendName | None = None
    """The backend that ``backend=auto`` must take for this checkpoint."""
    max_pp: Count | None = None
    """Most pipeline stages that its conversion writes; the recipe's where ``None``."""


@dataclass(frozen=True, kw_only=True)
class QuantOptions:
    """How a family uses one number format; what the user sets wins."""

    variants: list[str] = field(default_factory=list)
    """Checkpoints that have it; all where empty."""
    backends: list[BackendName] = field(default_factory=list)
    """Toolchains that have it for this family; all that know the format where empty."""
    dtype: Dtype | None = None
    """Number format of what is not quantized; the recipe's where ``None``."""
    kv_cache_dtype: Literal["int8", "fp8"] | None = None
    calib_size: Count | None = None
    calib_dataset: str | None = None
    flags: dict[str, dict[str, Flag]] = field(default_factory=dict)
    """Stage id -> flags that differ from the unquantized ones; ``null`` takes one away."""

    def is_for(self, variant: str, backend: str) -> bool:
        """Return whether a toolchain may make it of a checkpoint."""
        is_own = not self.variants or variant in self.variants
        return is_own and self.is_made_by(backend)

    def is_made_by(self, backend: str) -> bool:
        """Return whether a toolchain may make it for the family."""
        return not self.backends or backend in self.backends


@dataclass(frozen=True, kw_only=True)
class RunnerFacts:
    """What TensorRT-LLM's runner makes of a request to this family; rules read it, nothing else.

    ``None``: not known, so nothing is checked. Source: TensorRT-LLM 1.2, ``load_test_data`` and
    ``setup_inputs`` of ``MultimodalModelRunner``, ``eval.py``, and the multimodal README.
    """

    image: PictureInput = "any"
    pairing: Pairing | None = None
    video: Literal["none", "optional", "required"] | None = None
    max_video_frames: Count | None = None
    """Frames of one video up to which the README goes."""
    audio: Literal["none", "required"] | None = None
    max_batch_size: Count | None = None
    """Requests at once that the runner manages, whatever the engines do."""
    looks_once: bool = False
    """Whether the batch shares one picture, which passes the vision engine once."""
    torch_encoder: bool = False
    """Whether PyTorch runs the encoders, in GPU memory that the KV cache must leave."""
    checks_named_pictures: bool = True
    """Whether ``run.check_accuracy`` works beside pictures that are named."""
    evaluates: list[Literal["trtllm", "hf"]] = field(default_factory=lambda: ["trtllm", "hf"])
    """What ``eval.py`` can ask: the engines, the original model."""
    attention_backend: str | None = None
    """The one attention backend of the PyTorch workflow that masks as the family needs."""
    chunked_prefill: bool = True
    """Whether the PyTorch workflow may cut prompts into chunks."""
    block_reuse: bool = True
    """Whether the PyTorch workflow may reuse blocks of the KV cache."""


@dataclass(frozen=True, kw_only=True)
class NativeFacts:
    """What differs where mmtrt's own engines run this family, whichever checkpoint they are of."""

    media: list[Literal["video", "audio"]] = field(default_factory=list)
    """What a request may show beside pictures, or in their place."""
    min_images: Amount = 0
    """Pictures that every request must show."""
    max_images: Count | None = None
    """Most pictures of one request; any number where ``None``."""
    placeholders: dict[Literal["image", "video", "audio"], str] = field(default_factory=dict)
    """What stands for one of them in a prompt; none where the processor puts it in by itself."""
    frames: list[str] = field(default_factory=list)
    """Tokens that stand around placeholders, in prompts that hold some."""
    rows: list[str] = field(default_factory=list)
    """Further tokens that stand for what is shown, and that no prompt may hold."""
    stages: dict[str, StageSpec | None] = field(default_factory=dict)
    """Stages that its graph has in place of the recipe's; ``null`` takes one away."""
    workflow: Workflow | None = None
    """The recipe's where ``None``."""
    prompt_table: PromptTable | None = None
    """The recipe's where ``None``."""
    limits: LimitChoices = field(default_factory=LimitChoices)
    run: dict[str, Any] = field(default_factory=dict)
    """Defaults for ``run.*`` keys; ``null`` drops the recipe's."""


@dataclass(frozen=True, kw_only=True)
class DtypeSupport:
    """Number formats of a family where upstream names them; rules read it, nothing else."""

    supported: list[Dtype]
    others: Literal["refused", "undocumented"] = "undocumented"
    """What becomes of another one: ``refused`` if upstream says that it does not work."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A mistake of the README that the recipe does not repeat."""

    line: Count
    """Line of the README at the commit that :mod:`docs` names."""
    mistake: str
    repair: str


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
    hf_model_type: str | None
    """``model_type`` that the checkpoint's ``config.json`` must state; ``null``: it has none."""
    native_model_type: str | None = None
    """What native stages read in its place, where published checkpoints are laid out as their
    authors' code reads them and transformers has a layout of its own."""
    trtllm_model_type: str | None
    """``--model_type`` of ``build_multimodal_engine.py``; ``null``: no vision engine is built."""
    convert_script: str | None
    """Example script below ``examples`` that converts the checkpoint; ``null``: there is none."""
    name_words: list[str] = field(default_factory=list)
    """Words that TensorRT-LLM's scripts look for in the name of the model's directory."""
    default_variant: str
    variants: dict[str, Variant]
    stages: dict[str, StageSpec]
    sources: dict[str, Source] = field(default_factory=dict)
    quants: dict[QuantName, QuantOptions]
    sessions: list[SessionName]
    """Values of ``session`` that ``run.py`` serves; empty where it ignores the flag."""
    backends: list[BackendName]
    engines: list[EngineName] = field(
        default_factory=lambda: ["onnxruntime", "tensorrt", "tensorrt_rtx"]
    )
    """Formats in which native engines of it can be built."""
    not_native: str | None = None
    """Why no native engine can be made of it; said wherever ``backends`` has none."""
    runner: RunnerFacts = field(default_factory=RunnerFacts)
    native: NativeFacts = field(default_factory=NativeFacts)
    workflow: Workflow = "engine"
    dtype: Dtype
    dtypes: DtypeSupport | None = None
    """``None``: any."""
    max_pp: Count | None = None
    """Most pipeline stages that the conversion writes; any number where ``None``."""
    calibrates_on: Literal["text", "pictures"] = "text"
    """What ``quantize.py`` feeds to the model's processor."""
    config_values: dict[str, list[str]] = field(default_factory=dict)
    """Dotted key of a checkpoint's ``config.json`` -> the values that ``run.py`` knows."""
    prompt_table: PromptTable = "features"
    visual_input: VisualInput = "prompt_table"
    architecture: Architecture = "decoder"
    limits: LimitChoices = field(default_factory=LimitChoices)
    workload: Workload = field(default_factory=Workload)
    run: dict[str, Any] = field(default_factory=dict)
    eval: dict[str, Any] = field(default_factory=dict)
    """Defaults for ``eval.*`` keys that the user leaves unset."""
    repairs: list[Repair] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class BackendChoice:
    """One file below ``recipes/backend/``."""

    name: BackendName


@dataclass(frozen=True, kw_only=True)
class QuantChoice:
    """One file below ``recipes/quant/``."""

    name: QuantName
    dtype: Dtype | None = None
    """Number format of what is not quantized; the recipe's where ``None``."""
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


Figure = Literal[
    "engine_bytes",
    "build_seconds",
    "prefill_ms",
    "decode_tokens_per_s",
    "accuracy",
    "peak_rss_bytes",
]
"""A figure of a point in ``results.json``."""


@dataclass(frozen=True, kw_only=True)
class SweepChoice:
    """What sweepers other than Hydra's own want to know."""

    objective: Figure | list[Figure] | None = None
    """What a sweeper that searches makes better; it says whether more or less is better."""


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
    session: SessionName | None = None
    model: ModelSource = field(default_factory=ModelSource)
    trtllm: TrtllmChoice = field(default_factory=TrtllmChoice)
    target: Target = field(default_factory=Target)
    workload: Workload = field(default_factory=Workload)
    run: RunRequest = field(default_factory=RunRequest)
    eval: EvalRequest = field(default_factory=EvalRequest)
    serve: ServeRequest = field(default_factory=ServeRequest)
    until: str | None = None
    """Last stage to run, by id."""
    only: Several = None
    """Run just these stages; what they need must be in the store."""
    force: Several = None
    """Run these stages although the store has their output; ``all`` for every stage."""
    sweep: SweepChoice = field(default_factory=SweepChoice)
    paths: Paths


def listed(value: str | Sequence[str] | None) -> list[str]:
    """Return one text or many as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
