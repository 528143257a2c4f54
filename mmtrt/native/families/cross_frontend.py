"""Frontends of models whose decoder attends across to states, and starts from one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmtrt.native.errors import NativeError
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Engines, Prepared, Start
from mmtrt.native.steps import Feed, Window


def feed_states(states: Any, mask: Any) -> Feed:
    """Feed the same states ``[B, E, H]`` and their mask ``[B, E]`` at every step."""

    def feed(window: Window) -> Mapping[str, Any]:
        return {"states": states, "states_mask": mask}

    return feed


class PictureReader(HfFrontend):
    """Base of families whose whole request is one picture: its features are the states."""

    placeholder = ""
    template = "{text}"
    max_images = 1

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """See ``Frontend.prepare``."""
        for images in pictures:
            if len(images) != 1:
                raise NativeError(
                    f"a request has {len(images)} images, this model reads one",
                    code="RUN212",
                    why="it has no prompt: the picture is all that it answers",
                )
        singles = [self.process(*pair) for pair in zip(prompts, pictures)]
        pixels = self.pixels(singles)
        return Prepared(
            prompts=[[self.llm.special_tokens.start or 0] for _ in prompts],
            pixels=pixels,
            vision_items=len(prompts),
            encoder_len=self.rows(pixels),
            notes={"mask": self.mask(pixels)},
        )

    def rows(self, pixels: Mapping[str, Any]) -> int:
        """Return the states of one request."""
        raise NotImplementedError

    def mask(self, pixels: Mapping[str, Any]) -> Any:
        """Return bool ``[B, E]``: which states are there; all of them by default."""
        first = next(iter(pixels.values()))
        return np.ones((len(first), self.rows(pixels)), dtype=np.bool_)

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """See ``Frontend.start``."""
        assert features is not None  # prepare refuses a request without a picture
        feed = feed_states(features["features"], prepared.notes["mask"])
        return Start(prompts=prepared.prompts, feed=feed)
