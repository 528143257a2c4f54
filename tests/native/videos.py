"""Videos made here, and a tiny family that is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.native.families import NEW_TOKENS, Built

FPS = 8
SIZES = ((40, 32), (30, 90))
"""(height, width) of the frames of a batch."""


def moving(frames: int, height: int, width: int, seed: int = 0) -> Any:
    """Return uint8 ``[F, H, W, 3]``: noise in colours, with a bright square that wanders."""
    shown = np.random.default_rng(seed).integers(0, 160, (frames, height, width, 3), dtype=np.uint8)
    for number in range(frames):
        left = number * (width - 8) // max(frames - 1, 1)
        shown[number, 4:12, left : left + 8] = 255
    return shown


def make_video(
    path: Path, frames: int, height: int, width: int, seed: int = 0, *, seconds: float = 1 / FPS
) -> str:
    """Write an animated PNG, which keeps every value; ``seconds`` are those of a frame."""
    from PIL import Image

    first, *others = (Image.fromarray(frame) for frame in moving(frames, height, width, seed))
    first.save(path, save_all=True, append_images=others, duration=1000 * seconds)
    return str(path)


class Videos(Built):
    """A family with videos."""

    def clips(self, directory: Path, count: int, frames: int) -> list[Any]:
        """Return one clip for each request, of different sizes, lengths and speeds."""
        from mmtrt.native.multimodal_session import Clip

        return [
            Clip(make_video(directory / f"{n}.png", 9 + n, *size, seed=n), frames)
            for n, size in enumerate(SIZES[:count])
        ]

    def shown(self, texts: Sequence[str], clips: Sequence[Any]) -> dict[str, Any]:
        """Return the batch as transformers takes it, padded at the left; frames are the port's."""
        import torch
        from torch.nn.functional import pad

        from mmtrt.native.video_file import open_video

        frontend = self.session.frontend
        singles = []
        for text, clip in zip(texts, clips):
            frames, rows = frontend.frames(open_video(clip.path, clip.frames))
            prompt, settings = self.reference.prompt(text, ["video"])
            prompt = prompt.replace(self.mark, self.mark * rows)
            tokenizer = self.reference.processor.tokenizer
            tokens = dict(tokenizer([prompt], return_tensors="pt", **settings))
            if self.counts_pixels:
                is_row = tokens["input_ids"] == self.reference.config.video_token_id
                tokens["mm_token_type_ids"] = 2 * is_row
            singles.append({**tokens, **frames})
        longest = max(single["input_ids"].shape[1] for single in singles)
        tokens = ("input_ids", "attention_mask", "mm_token_type_ids")
        return {
            name: torch.cat(
                [
                    pad(tensor, (longest - tensor.shape[1], 0)) if name in tokens else tensor
                    for tensor in (torch.as_tensor(single[name]) for single in singles)
                ]
            )
            for name in singles[0]
        }

    @property
    def mark(self) -> str:
        """The placeholder of a video."""
        return str(self.session.frontend.video_placeholder)

    @property
    def counts_pixels(self) -> bool:
        """Whether the size of frames makes a difference."""
        return self.case.model != "llava_onevision"

    def prepared(self, texts: Sequence[str], paths: Sequence[str], frames: int) -> Any:
        """Return a batch before any engine has run."""
        from mmtrt.native.multimodal_session import Clip

        prompts = [self.session.frontend.video_prompt(text) for text in texts]
        return self.session.prepare(prompts, [], [Clip(path, frames) for path in paths])

    def answered(self, texts: Sequence[str], clips: Sequence[Any], **how: Any) -> Any:
        """Answer with the engines."""
        return self.session.answer(texts, clips=clips, max_new_tokens=NEW_TOKENS, **how)

    def generated(self, texts: Sequence[str], clips: Sequence[Any], **flags: Any) -> Any:
        """Return what transformers answers; see ``Reference.generate``."""
        return self.reference.generate_from(
            self.shown(texts, clips), new_tokens=NEW_TOKENS, **flags
        )
