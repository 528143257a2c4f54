"""Load one package of AOTInductor and lend it its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mmtrt.native.errors import NativeError

_MODEL = "model"
"""What PyTorch calls the only model of a package."""


class Package:
    """A compiled graph; called with the arguments that it was exported with."""

    def __init__(self, path: Path) -> None:
        """Load the code, on the GPU in use where it is for one; weights are lent by ``lend``.

        ``torch._inductor.aoti_load_package`` would first compile and start programs that tell the
        processor's instruction set, to warn of another one than the package's: 40 s on a machine
        with 16 cores (*measured*), and a compiler where none is needed. ``ties`` knows it before.

        Raises:
            NativeError: ART203, if there is none.
        """
        if not path.is_file():
            raise NativeError(f"{path}: no such file", code="ART203")
        device = torch.cuda.current_device() if torch.cuda.is_available() else -1
        # One thread at a time: its own synchronisation cannot be captured in a CUDA graph.
        self._loader: Any = torch._C._aoti.AOTIModelPackageLoader(
            str(path), _MODEL, True, 1, device
        )
        _, outputs = self._loader.get_call_spec()
        self._outputs = pytree.treespec_loads(outputs)

    def get_constant_fqns(self) -> list[str]:
        """Return the names of its weights."""
        return list(self._loader.get_constant_fqns())

    def lend(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Let it compute with these of the weights that it names; they must live as it does."""
        wanted = {name: weights[name] for name in self.get_constant_fqns()}
        self._loader.load_constants(wanted, False, True, True)

    def __call__(self, *args: Any) -> Any:
        """Compute."""
        tensors = [each for each in pytree.tree_leaves(args) if isinstance(each, torch.Tensor)]
        return pytree.tree_unflatten(self._loader.boxed_run(tensors), self._outputs)


def load_package(path: Path, weights: Mapping[str, torch.Tensor]) -> Package:
    """Return a package that computes with these weights, which must live as long as it does.

    Raises:
        NativeError: ART203, if there is none.
    """
    package = Package(path)
    package.lend(weights)
    return package
