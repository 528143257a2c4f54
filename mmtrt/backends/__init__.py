"""The table of toolchains, and how ``backend=auto`` chooses one."""

from __future__ import annotations

from collections.abc import Callable

from mmtrt.backends.base import Backend, Choice
from mmtrt.backends.fake import Fake
from mmtrt.backends.native import Native
from mmtrt.backends.trtllm import Trtllm, is_supported
from mmtrt.config.recipe import Recipe
from mmtrt.errors import PlanError
from mmtrt.host import HostInfo

BACKENDS: dict[str, Callable[[Recipe, HostInfo], Backend]] = {
    "native": Native,
    "trtllm": Trtllm,
    "fake": Fake,
}


def choose(recipe: Recipe, host: HostInfo, locked: str | None = None) -> Choice:
    """Return the backend of a recipe and the reason.

    Args:
        recipe: the resolved recipe.
        host: the machine that ``auto`` looks at.
        locked: what ``auto`` means by a lock.

    Raises:
        PlanError: ENG103 if the recipe cannot run on the backend that was asked for.
    """
    name: str = recipe.settings.backend.name
    wanted = recipe.variant.backend
    if name != "auto":
        because = f"backend={name}"
    elif wanted is not None:
        name, because = wanted, f"variant {recipe.variant_name} is made for it"
    elif locked is not None:
        name, because = locked, "the lock says so"
    elif (version := host.version("tensorrt-llm")) and is_supported(version):
        name, because = "trtllm", f"TensorRT-LLM {version} is installed"
    elif "native" in recipe.file.backends:
        name, because = "native", "no supported TensorRT-LLM is installed"
    else:
        name = recipe.file.backends[0]
        because = f"recipe {recipe.name} has no native engines"
        because += f": {recipe.file.not_native}" if recipe.file.not_native else ""
    known = [backend for backend in recipe.file.backends if backend in BACKENDS]
    # What TensorRT-LLM's tools can do, their stand-ins can play.
    if name not in (*known, *(["fake"] if "trtllm" in known else [])):
        raise PlanError(
            f"recipe {recipe.name} has no {name} backend",
            code="ENG103",
            at=recipe.where(("backend", "name")),
            why=(recipe.file.not_native if name == "native" else None) or because,
            fix=f"backend={known[0]}" if known else None,
        )
    return Choice(BACKENDS[name](recipe, host), because, host)


__all__ = ["BACKENDS", "Backend", "Choice", "choose"]
