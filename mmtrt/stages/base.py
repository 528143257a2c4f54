"""What every stage is: a typed choice with named inputs. How it runs is a backend's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

Reproducible = Literal["bitwise", "semantic", "no"]
FlagValue: TypeAlias = bool | int | float | str | list[str]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One typed step of a recipe.

    What enters the key are not its fields but the words of the command that a backend makes of it.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1
    """Raised whenever this stage's own code makes other output from the same input."""
    PORTS: ClassVar[tuple[str, ...]] = ()
    """Names of the inputs that a backend may read."""
    PASSES: ClassVar[str | None] = None
    """The port handed on unchanged to consumers when the stage is skipped."""
    REPRODUCIBLE: ClassVar[Reproducible] = "bitwise"
    """What two clean builds agree in: every byte, the behaviour, or neither."""
    IS_ENGINE: ClassVar[bool] = False
    """Whether the output is tied to a GPU class, which then enters the key."""
    RERUNS: ClassVar[bool] = False
    """Whether it runs again although its output is stored: what it does is the point, not that."""
    MEASURES: ClassVar[bool] = False
    """Whether its output holds times, which other stages on the same processor would spoil."""

    id: str
    """Name of the node in the recipe's graph."""
    model_name: str
    """Directory name of the artifact: some TensorRT-LLM scripts read the path for it."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Port -> id of the stage that feeds it, or ``id/path`` for a place below its output."""
    on_demand: bool = False
    """Whether it runs only when it is named."""
    network: bool = False
    """Whether the tool fetches something by itself."""
    script: str | None = None
    """Example script of the toolchain; like the flags it stands in the command, which is keyed."""
    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    """Further flags of the toolchain's tool, without dashes."""
    writes: tuple[str, ...] = ()
    """Files that must be there afterwards; the kind's own where empty."""
