"""``aot.json`` beside the packages: what they take, their limits and where they run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmtrt.cpu import lacking, this_cpu
from mmtrt.native.component import SpecialTokens
from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json
from mmtrt.native.limits import LlmLimits

SCHEMA = 1
CONFIG_FILE = "aot.json"
WEIGHTS_FILE = "weights.safetensors"


def weights_of(rank: int, ranks: int) -> str:
    """Return the name of a rank's weights; the packages are the same for all ranks."""
    return f"rank{rank}.safetensors" if ranks > 1 else WEIGHTS_FILE


@dataclass(frozen=True, kw_only=True)
class AotConfig:
    """What the runtime needs to know of the packages."""

    packages: tuple[str, ...]
    """``prompt``; ``token`` for any batch; ``token_1`` for batch 1."""
    device: str
    capability: str
    """What the machine must have; see ``capability_of``."""
    dtype: str
    limits: LlmLimits
    vocab_size: int
    hidden_size: int
    layers: int
    kv_heads: int
    """Of one rank."""
    head_size: int
    special_tokens: SpecialTokens
    torch: str
    """Version that compiled the packages."""
    position_axes: int = 0
    """Axes of the positions that graphs take beside ids; 0: none, positions count tokens."""
    ranks: int = 1
    """Processes that share the model; each has weights and a KV cache of its own."""

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``aot.json``."""
        return {"schema": SCHEMA, **asdict(self)}


def capability_of(device: str) -> str:
    """Return what compiled code depends on: ``sm_90``, or the class of the processor."""
    if device == "cuda":
        import torch

        major, minor = torch.cuda.get_device_capability()
        return f"sm_{major}{minor}"
    return this_cpu()


def read_aot_config(directory: Path) -> AotConfig:
    """Read ``aot.json``.

    Raises:
        NativeError: ART203, if the directory holds no packages that this machine can run.
    """
    document = read_json(
        directory / CONFIG_FILE,
        code="ART203",
        what="the compiled packages",
        fix="build the llm engine again with engine=aot_inductor",
    )
    if document.pop("schema", None) != SCHEMA:
        raise NativeError(f"{directory / CONFIG_FILE}: not of schema {SCHEMA}", code="ART203")
    try:
        config = AotConfig(
            **{
                **document,
                "packages": tuple(document["packages"]),
                "limits": LlmLimits(**document["limits"]),
                "special_tokens": SpecialTokens.from_json(document["special_tokens"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise NativeError(
            f"{directory / CONFIG_FILE}: incomplete or damaged: {error!r}", code="ART203"
        ) from error
    _check_machine(directory, config)
    return config


def _check_machine(directory: Path, config: AotConfig) -> None:
    import torch

    if config.device == "cuda" and not torch.cuda.is_available():
        raise NativeError(f"{directory}: compiled for a GPU, and there is none", code="ART203")
    ours = {"capability": capability_of(config.device), "torch": torch.__version__}
    for key, value in ours.items():
        built = getattr(config, key)
        # A processor may have more than the one that the packages were compiled on.
        fits = key == "capability" and config.device == "cpu" and not lacking(built, value)
        if built != value and not fits:
            raise NativeError(
                f"{directory}: compiled with {key} {built}, here it is {value}",
                code="ART203",
                fix="build the llm engine again on this machine",
            )
