"""From a workload to the limits of the engines, each with the sum that gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmtrt.sizing.features import ImageCost
from mmtrt.sizing.limits import LIMIT_NAMES, Limit, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The largest request to serve, as far as it is known.

    A number is in ``asked`` when the user gave it; the recipe's numbers are defaults, so limits
    that the recipe states win over them, and limits computed from what was asked win over both.
    """

    batch_size: int | None
    images_per_request: int
    text_tokens: int | None
    max_new_tokens: int
    asked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the solver found."""

    limits: Limits
    features_per_request: int
    image: ImageCost
    demand: Demand


DEFAULT_TEXT_TOKENS = 64
"""Prompt text assumed where neither recipe nor user says more (*chosen*: a long question)."""


def solve(
    demand: Demand,
    image: ImageCost,
    recipe: Mapping[str, int | None],
    override: Mapping[str, int | None],
) -> Sizing:
    """Compute every limit.

    Args:
        demand: the workload.
        image: cost of one picture of the workload.
        recipe: limits that the recipe or its variant states, by name.
        override: limits that the user set, by name; they win and are never changed.

    Source of the multimodal rule: the C++ runtime grants each request
    ``floor(max_multimodal_len / max_batch_size)`` rows of the table (TensorRT-LLM 1.2).
    """
    limits: dict[str, Limit] = {}

    def choose(name: str, derived: int | None, because: str, *, from_workload: bool) -> int | None:
        """Take the user's number, else one computed from what was asked, else the recipe's."""
        if override.get(name) is not None:
            limits[name] = Limit(override[name], "override", f"set by {name}={override[name]}")
        elif from_workload and derived is not None:
            limits[name] = Limit(derived, "derived", because)
        elif recipe.get(name) is not None:
            limits[name] = Limit(recipe[name], "recipe", "stated by the recipe")
        else:
            limits[name] = Limit(derived, "derived", because)
        return limits[name].value

    asked = demand.asked
    batch = choose(
        "max_batch_size",
        demand.batch_size or 1,
        f"workload.batch_size {demand.batch_size or 1}",
        from_workload="batch_size" in asked,
    )
    assert batch is not None
    features = image.features * demand.images_per_request
    text = demand.text_tokens if demand.text_tokens is not None else DEFAULT_TEXT_TOKENS
    prompt = choose(
        "max_input_len",
        features + text,
        f"{features} visual features + {text} text tokens",
        from_workload="text_tokens" in asked or "images_per_request" in asked,
    )
    assert prompt is not None
    choose(
        "max_seq_len",
        prompt + demand.max_new_tokens,
        f"max_input_len {prompt} + {demand.max_new_tokens} new tokens",
        from_workload=bool(asked & {"max_new_tokens", "text_tokens", "images_per_request"})
        or override.get("max_input_len") is not None,
    )
    choose("max_num_tokens", None, "not stated: the tool's own default", from_workload=False)
    choose(
        "max_multimodal_len",
        batch * features,
        f"max_batch_size {batch} x {features} visual features per request",
        from_workload=False,
    )
    choose(
        "max_encoder_input_len", None, "only encoder-decoder models have one", from_workload=False
    )
    tiles = image.tiles * demand.images_per_request
    choose(
        "vision.max_batch_size",
        batch * tiles,
        f"max_batch_size {batch} x {tiles} image{'s' if image.tiles == 1 else ' tiles'} per request"
        if tiles != 1
        else f"max_batch_size {batch} x 1 image per request",
        from_workload=False,
    )
    ordered = {name: limits[name] for name in LIMIT_NAMES}
    return Sizing(Limits(ordered), features, image, demand)
