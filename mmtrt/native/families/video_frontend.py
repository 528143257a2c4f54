"""Videos beside pictures: what the families that take both share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Prepared
from mmtrt.native.video_file import Video
from mmtrt.native.video_frames import VideoSettings, read_video_settings

PIXELS = "pixel_values_videos"
"""Name of a request's frames, as the model of transformers takes them."""


class VideoFrontend(HfFrontend):
    """Base of a frontend whose requests show pictures, or one video; a batch shows one kind."""

    video_placeholder: ClassVar[str]
    """What stands for a video in a prompt, and for each of its rows among the tokens."""
    video_picture: ClassVar[str]
    """A video in ``template``: its placeholder and what stands around it."""
    video_size: ClassVar[Mapping[str, int]]
    """``size`` of the family's video processor where a model's files leave it out."""

    @cached_property
    def video_settings(self) -> VideoSettings:
        """The preprocessing of frames, read when it is first needed."""
        return read_video_settings(self.model_dir, self.video_size)

    def frames(self, video: Video) -> tuple[dict[str, Any], int]:
        """Return what the model takes of one video, by name, and the rows that it becomes."""
        raise NotImplementedError

    @property
    def marks(self) -> Mapping[str, tuple[str, str]]:
        """See ``HfFrontend.marks``."""
        return {**super().marks, "video": (self.video_placeholder, self.video_picture)}

    def video_prompt(self, text: str) -> str:
        """See ``TakesVideos.video_prompt``."""
        return self.written(text, ["video"])

    def prepare_videos(self, prompts: Sequence[str], videos: Sequence[Video]) -> Prepared:
        """See ``TakesVideos.prepare_videos``."""
        # The same file may stand for several requests: prepare it once.
        seen = {id(video): self.frames(video) for video in videos}
        singles = [self.show(prompt, *seen[id(video)]) for prompt, video in zip(prompts, videos)]
        return self.gathered(singles, [1] * len(videos))

    def show(self, prompt: str, frames: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """Return the arrays of one request; its placeholder is repeated for each row."""
        written = prompt.replace(self.video_placeholder, self.video_placeholder * rows)
        # Not through the processor: it refuses the placeholder of a video that it was not given.
        settings = self.text_settings(prompt)
        tokens = dict(self.processor.tokenizer([written], return_tensors="np", **settings))
        return {**tokens, **frames}

    def row_token(self, single: Mapping[str, Any]) -> int | None:
        """Return the image token, or that of a video."""
        return self.config.video_token_id if PIXELS in single else super().row_token(single)


def shows_video(shown: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether these requests of a batch show videos, not pictures."""
    return PIXELS in shown[0]
