"""The engines of one directory and whether they belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmtrt.native.component import CONFIG_FILE
from mmtrt.native.engine_config import EngineConfig, read_engine_config
from mmtrt.native.errors import NativeError
from mmtrt.native.integer_sums import check_integer_sums
from mmtrt.native.limits import START_TOKENS, LlmLimits
from mmtrt.native.tensorrt_api import raise_all
from mmtrt.native.ties import AOT_ENGINE, Machine, misfits

_SHARED = ("family", "hidden_size", "vocab_size", "num_visual_features")


@dataclass(frozen=True, kw_only=True)
class EngineSet:
    """Configurations of the engines; graphs are not read yet."""

    directories: dict[str, Path]
    """``llm`` (the one that writes), ``vision``; ``encoder`` and ``audio`` where they are."""
    llm: EngineConfig
    vision: EngineConfig
    encoder: EngineConfig | None
    audio: EngineConfig | None = None
    limits: LlmLimits
    """Of the language model: what its engines serve together."""

    @property
    def graphs(self) -> dict[str, Path]:
        """Directories of engines that are one graph; packages of a language model are not."""
        if self.llm.engine != AOT_ENGINE:
            return self.directories
        return {name: path for name, path in self.directories.items() if name != "llm"}


def read_engines(engine_dir: Path) -> EngineSet:
    """Read ``vision/`` and ``llm/``, or ``llm/decoder/`` and ``llm/encoder/`` in its place.

    And ``vision/audio/``, where it is.

    Raises:
        NativeError: ART203, if an engine is missing or does not fit the others; ART212, with every
            field in which this machine is not what the engines are tied to; ART214, if its
            processor would cut sums off.
    """
    directories = {"llm": engine_dir / "llm", "vision": engine_dir / "vision"}
    apart = (engine_dir / "llm/decoder" / CONFIG_FILE).is_file()
    if apart:
        directories["llm"] = engine_dir / "llm/decoder"
    llm = read_engine_config(directories["llm"], "decoder" if apart else "llm")
    vision = read_engine_config(directories["vision"], "vision")
    encoder = None
    if apart and (engine_dir / "llm/encoder" / CONFIG_FILE).is_file():
        directories["encoder"] = engine_dir / "llm/encoder"
        encoder = read_engine_config(directories["encoder"], "encoder")
    audio = None
    if (engine_dir / "vision/audio" / CONFIG_FILE).is_file():
        directories["audio"] = engine_dir / "vision/audio"
        audio = read_engine_config(directories["audio"], "audio")
    found = {"vision": vision, "llm/encoder": encoder, "vision/audio": audio}
    others = {place: engine for place, engine in found.items() if engine is not None}
    for place, other in others.items():
        for name in _SHARED:
            ours, theirs = getattr(llm, name), getattr(other, name)
            if ours != theirs:
                raise NativeError(
                    f"{engine_dir}: {name} is {ours} in llm/ and {theirs} in {place}/",
                    code="ART203",
                    fix="build both engines from the same checkpoint",
                )
    machine = Machine()
    raise_all(
        misfit
        for place, engine in {"llm": llm, **others}.items()
        if engine.ties is not None
        for misfit in misfits(directories[place.split("/")[-1]], engine.ties, machine)
    )
    check_integer_sums(directories["llm"], llm.format)
    batch = min(engine.limits["max_batch_size"] for engine in (llm, encoder or llm))
    limits = {
        # What the decoder of a model that reads elsewhere does not state.
        "max_input_len": START_TOKENS,
        "max_num_tokens": batch * START_TOKENS,
        "max_multimodal_len": 0,
        **(encoder.limits if encoder else {}),
        **llm.limits,
        "max_batch_size": batch,
    }
    return EngineSet(
        directories=directories,
        llm=llm,
        vision=vision,
        encoder=encoder,
        audio=audio,
        limits=LlmLimits(**limits),
    )
