"""What the stand-ins play: the variable ``MMTRT_FAKE``, a JSON object whose keys are all optional.

version      TensorRT-LLM version; chooses the flag table (default 1.2.1, the last with engines)
family       model family, as recipes call it
trtllm_model_type  what the vision build calls it; tells what a family that nobody knows plays
hf_model_type  ``model_type`` of ``config.json``; null: it has none
facts        the variant's facts; they win over what a model directory says
gpus         visible GPUs (default 8)
sm           compute capability without the dot, such as 90 (default: not checked)
accuracy     per cent that eval.py finds for the engines
hf_accuracy  per cent that eval.py finds for the original model
answer       text that run.py prints for every request
network      whether the stage may use the network (default true)
sample_size  [height, width] of the tools' own sample picture
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from mmtrt.fake.failure import UsageFailure
from mmtrt.fake.families import FAMILIES

VARIABLE = "MMTRT_FAKE"


@dataclass(frozen=True)
class Settings:
    """See the module."""

    version: str = "1.2.1"
    family: str | None = None
    trtllm_model_type: str | None = None
    hf_model_type: str | None = ""
    """Empty: not said, the family's usual one."""
    facts: dict[str, Any] = field(default_factory=dict)
    gpus: int = 8
    sm: int | None = None
    accuracy: float | None = None
    hf_accuracy: float | None = None
    answer: str | None = None
    network: bool = True
    sample_size: list[int] | None = None


def read() -> Settings:
    """Return what the environment says.

    Raises:
        UsageFailure: if the variable is not an object with known keys.
    """
    text = os.environ.get(VARIABLE) or "{}"
    try:
        found = Settings(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UsageFailure(f"{VARIABLE} cannot be read: {error}") from error
    if found.family is None or found.family in FAMILIES:
        return found
    # A family of the user's is built with the tools of one that TensorRT-LLM knows.
    kind = found.trtllm_model_type
    alike = (name for name, row in FAMILIES.items() if kind is not None and row.vision == kind)
    return replace(found, family=next(alike, found.family))


def ranks() -> int:
    """Return the number of MPI processes that this one belongs to."""
    return int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this MPI process."""
    return int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
