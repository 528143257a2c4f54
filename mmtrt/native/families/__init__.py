"""The model families of the native toolchain; a new one is one module here and one row below."""

from __future__ import annotations

from collections.abc import Mapping

from mmtrt.native.errors import NativeError
from mmtrt.native.families.base import Family
from mmtrt.native.families.llava import LLAVA

FAMILIES: Mapping[str, Family] = {family.name: family for family in (LLAVA,)}
"""Family by the ``model_type`` of the model's ``config.json``."""


def family_of(name: object) -> Family:
    """Return the family of a model type.

    Raises:
        NativeError: MDL202, if the native toolchain has none for it.
    """
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise NativeError(
            f"the native toolchain has no family for model_type {name!r}",
            code="MDL202",
            why=f"it knows: {', '.join(sorted(FAMILIES))}",
            fix="take one of these, or the trtllm backend",
        )
    return family
