"""The model families of the native toolchain; a new one is one module here and one row below."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from mmtrt.native.errors import NativeError
from mmtrt.native.families.base import Family

FAMILIES: Mapping[str, str] = {
    "llava": "llava",
    "llava_next": "llava_next",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "llava_onevision": "llava_onevision",
    "internvl": "internvl2",
    "gemma3": "gemma3",
    "kosmos-2": "kosmos2",
    "fuyu": "fuyu",
    "blip-2": "blip2",
    "pix2struct": "deplot",
    "vision-encoder-decoder": "nougat",
    "mllama": "mllama",
    "phi4_multimodal": "phi4_multimodal",
}
"""``model_type`` of the model's ``config.json`` to the module here, whose ``FAMILY`` knows it."""


def family_of(name: object) -> Family:
    """Return the family of a model type; its module is imported now, and may need torch.

    Raises:
        NativeError: MDL202, if the native toolchain has none for it.
    """
    module = FAMILIES.get(name) if isinstance(name, str) else None
    if module is None:
        raise NativeError(
            f"the native toolchain has no family for model_type {name!r}",
            code="MDL202",
            why=f"it knows: {', '.join(sorted(FAMILIES))}",
            fix="take one of these, or the trtllm backend",
        )
    family: Family = import_module(f"mmtrt.native.families.{module}").FAMILY
    return family
