"""Load what ``run.py`` and ``eval.py`` load: engines, tokenizer, session; as strictly as they do.

Source: TensorRT-LLM 1.2, ``MultimodalModelRunner.__init__``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.fake import files, log, model_dir, settings
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.parser import Flags

NO_ENGINE = ("phi-3-vision", "phi-4-multimodal")
NEWLINES = ("llava_next", "llava_onevision")
DECODER_ONLY_PART = ("nougat", "pix2struct")
END_TO_END = ("llava", "vila", "blip2-opt", "kosmos-2", "fuyu", "cogvlm", "neva", "internvl")
PROMPTS = ("mistralai/Mistral-7B-Instruct-v0.2", "NousResearch/Nous-Hermes-2-Yi-34B")
"""LLaVA-NeXT checkpoints, by ``text_config._name_or_path``, that the runner has a prompt for."""


@dataclass(frozen=True)
class Engines:
    """What was loaded."""

    model_type: str
    family: str
    facts: Mapping[str, Any]
    session: str
    chunked: bool
    profile: Mapping[str, int] | None
    """Of the vision engine's batch axis; ``None`` where Python runs the encoder or C++ checks."""
    llm: Mapping[str, Any]
    """``build_config`` of the language model, of its decoder where it has two parts."""
    encoder: Mapping[str, Any] | None
    """``build_config`` of the encoder part."""
    digest: str

    @property
    def is_decoder_only(self) -> bool:
        """Whether the language model is no encoder-decoder."""
        return not ("t5" in self.model_type or self.model_type in DECODER_ONLY_PART)


def load(flags: Flags) -> Engines:
    """Load the engines that the flags name."""
    played = settings.read()
    require(played.gpus > 0, "ZeroDivisionError", "integer modulo by zero")
    place = Path(_required(flags, "--engine_dir"))
    vision = files.read_json(place / "vision" / "config.json")
    builder = vision.get("builder_config")
    if not isinstance(builder, dict):
        raise ToolFailure("KeyError", "'builder_config'")
    kind = str(builder["model_type"])
    family = str(vision.get("family") or played.family)
    facts = {**vision.get("facts", {}), **played.facts}
    hf_dir = _required(flags, "--hf_model_dir")
    _check_model(kind, hf_dir, flags)
    decoder_only = not ("t5" in kind or kind in DECODER_ONLY_PART)
    session = _session(kind, flags) if decoder_only else "cpp_llm_only"
    _check_tokenizer(kind, hf_dir)
    profile = _vision_engine(kind, place, flags, session)
    encoder = None
    if decoder_only:
        llm = _llm_engine(place / "llm", session)
    else:
        if kind not in DECODER_ONLY_PART:
            encoder = _llm_engine(place / "llm" / "encoder", "python")["build_config"]
        llm = _llm_engine(place / "llm" / "decoder", "python")
    if "internlm" in kind and not (place / "llm" / "lora" / "0").is_dir():
        raise ToolFailure("KeyError", "'0' (no adapter in llm/lora: built without --lora_dir?)")
    if kind == "phi-4-multimodal":
        files.read_json(place / "audio" / "config.json")
    _require_width(facts, llm["pretrained_config"])
    chunked = flags.is_on("--enable_chunked_context") and session == "cpp_llm_only" and decoder_only
    _check_chunks(flags, chunked, llm["build_config"])
    return Engines(
        model_type=kind,
        family=family,
        facts=facts,
        session=session,
        chunked=chunked,
        profile=profile,
        llm=llm["build_config"],
        encoder=encoder,
        digest=files.content_digest(place),
    )


def _required(flags: Flags, name: str) -> str:
    value = flags.text(name)
    if value is None:
        raise ToolFailure(
            "TypeError", f"expected str, bytes or os.PathLike object, not NoneType ({name})"
        )
    return value


def _check_model(kind: str, hf_dir: str, flags: Flags) -> None:
    """Check what is read of the model's own directory before anything is loaded."""
    if kind == "llava_next":
        name = model_dir.load(hf_dir).text.get("_name_or_path")
        require(
            name in PROMPTS,
            "Exception",
            f"Prompt template for {name} for not included currently",
        )
    if kind == "qwen2_vl":
        found = model_dir.load(hf_dir).hf_type
        require(
            found == "qwen2_vl",
            "AttributeError",
            f"'{found}' configuration has no attribute 'vision_start_token_id'",
        )
    if kind == "llava_onevision":
        both = flags.has("--video_path") and flags.has("--image_path")
        require(not both, "AssertionError")


def _session(kind: str, flags: Flags) -> str:
    """Return the session that is really used.

    Source: the table of end-to-end models in ``MultimodalModelRunner.__init__``.
    """
    asked = flags.text("--session") or "cpp_llm_only"
    if kind == "qwen2_vl" and asked != "cpp_llm_only":
        log.warning("Qwen2-vl only support C++ session for now, fallback to C++ session.")
        return "cpp_llm_only"
    if asked == "cpp" and kind not in END_TO_END and "internlm" not in kind:
        log.warning(
            f"C++ end-to-end mode does not support {kind}. Visual engine fallbacks to Python "
            "session. See support matrix in README."
        )
        return "cpp_llm_only"
    return asked


def _check_tokenizer(kind: str, hf_dir: str) -> None:
    if kind in ("neva", "video-neva"):
        path = Path(hf_dir) / "tokenizer.model"
        require(
            path.is_file(), "OSError", f'Not found: "{path}": No such file or directory Error #2'
        )
    elif kind == "vila":
        model_dir.require_tokenizer(f"{hf_dir}/llm")
        model_dir.require_vila_code(hf_dir)
    else:
        model_dir.require_tokenizer(hf_dir)


def _vision_engine(kind: str, place: Path, flags: Flags, session: str) -> Mapping[str, int] | None:
    profile: Mapping[str, int] | None = None
    path = place / "vision" / (flags.text("--visual_engine_name") or "model.engine")
    if kind not in NO_ENGINE:
        if session == "cpp":
            log.info(
                "Using C++ runtime for both visual engine and LLM decoder, skip loading visual "
                "engine in Python runtime."
            )
        else:
            log.info(f"Loading engine from {path}")
        engine = files.read_engine(path)
        _require_version(engine)
        profile = engine["profile"] if session != "cpp" else None
    if kind in NEWLINES:
        newlines = place / "vision" / "image_newlines.safetensors"
        require(newlines.is_file(), "FileNotFoundError", f'No such file or directory: "{newlines}"')
    return profile


def _llm_engine(place: Path, session: str) -> dict[str, Any]:
    """Return ``config.json`` of an engine whose files and world size fit."""
    config = files.read_json(place / "config.json")
    mapping = config["pretrained_config"]["mapping"]
    world, running = int(mapping["world_size"]), settings.ranks()
    if world != running:
        if session == "python":
            raise ToolFailure(
                "AssertionError",
                f"Engine world size ({mapping['tp_size']} * {mapping['pp_size']}) != Runtime "
                f"world size ({running})",
            )
        raise ToolFailure(
            "RuntimeError",
            "[TensorRT-LLM][ERROR] Assertion failed: With communicationMode kLEADER, MPI "
            "worldSize is expected to be equal to tp*pp when participantIds are not specified "
            f"({running} != {world})",
        )
    runner = "Python" if session == "python" else "C++"
    log.info(f"Running LLM with {runner} runner")
    _require_version(files.read_engine(place / f"rank{settings.rank()}.engine"))
    return config


def _require_version(engine: Mapping[str, Any]) -> None:
    """Stop at an engine of another minor version: TensorRT's plan files are tied to theirs."""
    built, played = str(engine["version"]), settings.read().version
    if built.split(".")[:2] != played.split(".")[:2]:
        raise ToolFailure(
            "RuntimeError",
            "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file "
            "is not compatible with this version of TensorRT, expecting the library of "
            f"TensorRT-LLM {played} got {built}, please rebuild.)",
        )


def _require_width(facts: Mapping[str, Any], pretrained: Mapping[str, Any]) -> None:
    """Stop if vision features are not as wide as the language model."""
    wide, narrow = pretrained.get("hidden_size"), facts.get("hidden_size")
    require(
        None in (wide, narrow) or wide == narrow,
        "RuntimeError",
        f"[TensorRT-LLM][ERROR] Assertion failed: prompt embedding table of width {narrow} in a "
        f"model of hidden size {wide}",
    )


def _check_chunks(flags: Flags, chunked: bool, build: Mapping[str, Any]) -> None:
    if chunked:
        require(
            build["plugin_config"].get("use_paged_context_fmha") == "enable",
            "RuntimeError",
            "[TensorRT-LLM][ERROR] Assertion failed: Chunked context requires context FMHA, paged "
            "kv_cache and paged context FMHA all enabled at the same time.",
        )
    elif flags.is_on("--mm_embedding_offloading"):
        log.warning(
            "mm_embedding_offloading requires enable_chunked_context in session cpp_llm_only: it "
            "is disabled"
        )
