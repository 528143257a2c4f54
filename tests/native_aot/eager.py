"""Packages without a compiler: the graphs run as PyTorch modules, with the weights of the file.

All but inductor is the real thing: merged and packed weights, engine directories, sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def eager_packages() -> Iterator[None]:
    """Let ``build_llm`` keep the graphs of packages, and sessions run those."""
    import torch

    from mmtrt.native import aot_build, aot_session

    kept: dict[Path, Any] = {}

    def keep(module: Any, args: Any, dynamic_shapes: Any, package: Path, options: Any) -> None:
        package.write_bytes(b"kept in memory")
        kept[package.resolve()] = module

    def load(path: Path, weights: Mapping[str, Any]) -> Any:
        module = kept[path.resolve()]
        assert weights.keys() == module.state_dict().keys()

        def run(*args: Any) -> Any:
            with torch.inference_mode():
                return torch.func.functional_call(module, dict(weights), args, strict=True)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aot_build, "write_package", keep)
        patch.setattr(aot_session, "load_package", load)
        yield
