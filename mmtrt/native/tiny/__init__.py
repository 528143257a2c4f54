"""Random tiny models, one module per model, for ``python -m mmtrt.native.make_tiny``."""

from __future__ import annotations

from collections.abc import Mapping

from mmtrt.native.errors import NativeError

MODELS: Mapping[str, str] = {
    "llava_next": "llava_next",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "llava_onevision": "llava_onevision",
    "internvl2": "internvl2",
    "gemma3": "gemma3",
    "kosmos2": "kosmos2",
    "fuyu": "fuyu",
    "blip2": "blip2",
    "blip2_t5": "blip2_t5",
    "deplot": "deplot",
    "nougat": "nougat",
    "mllama": "mllama",
    "phi4_multimodal": "phi4_multimodal",
}
"""Name on the command line to the module here, whose ``make(directory, seed)`` writes it."""


def module_of(name: str) -> str:
    """Return the full name of a model's module.

    Raises:
        NativeError: MDL210, if there is none.
    """
    if name not in MODELS:
        raise NativeError(
            f"no tiny model is known for {name!r}",
            code="MDL210",
            why=f"there are: {', '.join(MODELS)}",
        )
    return f"mmtrt.native.tiny.{MODELS[name]}"
