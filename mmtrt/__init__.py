"""Build and run multimodal models from declarative recipes.

**config** turns a YAML recipe into typed **stages**; **backends** lower each stage to commands; the
**plan** orders them and gives each a cache key; **rules** check the plan against the **host**; the
**executor** runs what the cache lacks; **artifacts** keep results with their manifests; the
**report** tells what happened; the **cli** is the door.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmtrt.api import check_plan, execute, load_recipe, make_plan, write_report

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "check_plan",
    "execute",
    "load_recipe",
    "make_plan",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use: ``mmtrt --version`` needs none of them."""
    if name in __all__:
        return getattr(importlib.import_module("mmtrt.api"), name)
    raise AttributeError(f"module 'mmtrt' has no attribute {name!r}")
