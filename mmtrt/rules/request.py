"""The request that ``run`` makes: whom it asks, and what it costs at least.

Only what is certain is counted: a picture whose size cannot be read costs what every picture of
the family does, if they are alike, and a text has a token for each of its words. No tokenizer of
these models joins words.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mmtrt.backends.trtllm import VISION_DEFAULT
from mmtrt.config.recipe import Recipe, priced
from mmtrt.plan.graph import Plan
from mmtrt.rules.picture import size_of
from mmtrt.rules.sound import seconds_of
from mmtrt.sizing.features import Flavour, ImageCost, audio_features
from mmtrt.sizing.features.native_resolution import is_too_long
from mmtrt.stages import Run

DEFAULT_FRAMES = 8
"""Frames that ``run.py`` takes of a video where nothing else is said."""
UNLIKE = ([64, 64], [700, 2000])
"""Two [height, width] that cost the same only where every picture does."""


def asked(plan: Plan) -> Run | None:
    """Return the request to engines; ``None`` if there is none."""
    if plan.recipe.workflow != "engine":
        return None
    return next((node.stage for node in plan.active() if isinstance(node.stage, Run)), None)


def asked_of_runner(plan: Plan) -> Run | None:
    """Return the request to TensorRT-LLM's ``run.py``; ``None`` if there is none."""
    return None if plan.is_native else asked(plan)


def words(text: str) -> int:
    """Return the least number of tokens of a text; marks such as ``<image>`` are none."""
    return len(re.sub(r"<[^<>\s]*>", " ", text).split())


@dataclass(frozen=True)
class Cost:
    """What the dearest request of the batch costs at least."""

    features: int
    """Rows of the prompt-embedding table."""
    prompt: int
    """Tokens of the prompt."""
    items: int
    """On the batch axis of the vision engine, all requests together."""
    because: str


@dataclass(frozen=True)
class Counter:
    """Counts what one request of a plan costs."""

    plan: Plan
    run: Run

    @property
    def recipe(self) -> Recipe:
        """The recipe of the plan."""
        return self.plan.recipe

    @property
    def is_native(self) -> bool:
        """Whether mmtrt's own engines are asked."""
        return self.plan.is_native

    @property
    def pairing(self) -> str | None:
        """Which prompts and pictures belong together."""
        return "pairs" if self.is_native else self.recipe.file.runner.pairing

    @cached_property
    def frames(self) -> int | None:
        """Frames of the video, if one is shown and the family takes it."""
        if self.run.video is None or not self._takes_video():
            return None
        fixed = self.recipe.variant.facts.num_frames
        return fixed or self.run.video_frames or DEFAULT_FRAMES

    @cached_property
    def heard(self) -> int:
        """Rows of the sound, if one is played whose length its file tells."""
        if self.run.audio is None:
            return 0
        flavour: Flavour = "hf" if self.is_native else "trtllm"
        return audio_features(self.recipe.file.family, seconds_of(self.run.audio), flavour)

    @property
    def is_refused(self) -> bool:
        """Whether the model's processor refuses a picture for its shape, whatever the limits."""
        if not self.is_native or self.recipe.file.family != "qwen2_vl":
            return False
        return any(size is not None and is_too_long(size) for size in map(size_of, self.run.images))

    def cost(self) -> Cost:
        """Return what the dearest request costs at least."""
        groups = self._groups()
        costs = [self._of(group) for group in groups]
        marked = [sum(cost.marks for cost in each) for each in costs]
        features = [sum(cost.features for cost in each) + self.heard for each in costs]
        prompts = [
            rows + marks + text
            for rows, marks, text in zip(features, marked, self._texts(len(groups)))
        ]
        dear = costs[features.index(max(features))]
        shown = [f"{len(dear)} x ({dear[0].because})" if len(dear) > 1 else dear[0].because]
        shown += [f"{self.heard} of the sound"] if self.heard else []
        once = self.recipe.file.runner.looks_once and not self.is_native
        text = prompts[prompts.index(max(prompts))] - max(features)
        return Cost(
            features=max(features),
            prompt=max(prompts),
            items=sum(cost.tiles for each in costs[: 1 if once else None] for cost in each),
            because=", ".join(shown if not text else [*shown, f"{text} or more tokens of text"]),
        )

    def vision_batch(self) -> int | None:
        """Return how many items the vision engine takes; ``None`` where there is none."""
        limit = self.recipe.sizing.limits["vision.max_batch_size"]
        if limit.value is None or (self.recipe.file.runner.torch_encoder and not self.is_native):
            return None
        built = limit.value
        if limit.source == "derived" and not self.is_native:
            built = max(built, VISION_DEFAULT)  # the tool's default covers it
        return built * self.recipe.sizing.image.tiles_per_slot

    def _groups(self) -> list[Sequence[str]]:
        """Return the pictures of each request."""
        images, batch = self.run.images, self.run.batch_size
        if self.pairing == "marks" and batch == 1:
            return [images]
        if self.pairing in ("pairs", "lists", "marks") and len(images) > 1:
            per = self.recipe.sizing.demand.images_per_request
            each = per if self.is_native and len(images) == batch * per else 1
            return [images[i * each : (i + 1) * each] for i in range(batch)]
        return [images[:1]] * batch

    def _texts(self, requests: int) -> list[int]:
        """Return the least tokens of each request's text."""
        prompts = self.run.prompts
        if len(prompts) > 1 and self.pairing in ("pairs", "lists", "marks"):
            counted = [words(text) for text in prompts[:requests]]
            return counted + [0] * (requests - len(counted))
        return [words(prompts[0]) if prompts else 0] * requests

    def _of(self, pictures: Sequence[str]) -> list[ImageCost]:
        """Return what each picture of one request costs, or its video."""
        if self.frames is not None:
            return [self._video(self.frames)]
        looked_at = self.is_native or self.recipe.file.runner.image not in ("sample", "none")
        named = pictures if looked_at else ()
        costs = []
        if self.is_native and not named:
            return [NOTHING]
        for place in named or ("",):
            size = size_of(place, upright=self.is_native) if place else None
            priced = None if size is None else self._priced(list(size), max(len(named), 1))
            costs.append(priced or self._alike(max(len(named), 1)))
        return costs

    @property
    def items_are_frames(self) -> bool:
        """Whether a video is shown, and each of its frames counts alike on the vision engine."""
        return self.frames is not None and self.recipe.sizing.image.tiles_per_slot == 1

    def _takes_video(self) -> bool:
        """Return whether the frames are looked at."""
        file = self.recipe.file
        if self.is_native:
            return "video" in file.native.media
        return file.runner.video not in (None, "none")

    def _video(self, frames: int) -> ImageCost:
        """Return what the video costs, or nothing where that depends on an unknown size."""
        cost = self._priced(None, 1, frames)
        if cost is not None and cost.is_worst:
            size = size_of(self.run.video or "")
            cost = None if size is None else self._priced(list(size), 1, frames)
        return cost or UNKNOWN

    def _alike(self, pictures: int) -> ImageCost:
        """Return what any picture costs, or nothing where they differ."""
        one, other = (self._priced(size, pictures) for size in UNLIKE)
        return one if one is not None and other == one else UNKNOWN

    def _priced(
        self, size: list[int] | None, pictures: int, frames: int | None = None
    ) -> ImageCost | None:
        workload = dataclasses.replace(
            self.recipe.settings.workload,
            image_size=size,
            images_per_request=pictures,
            video_frames=frames,
        )
        return priced(self.recipe, workload)


UNKNOWN = ImageCost(0, 0, "a picture of unknown size")
NOTHING = ImageCost(0, 0, "no picture")
