"""Answer texts about images: prompts and pixels in, text out, over an ``EngineSession``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.clip_images import read_preprocessing
from mmtrt.native.errors import NativeError
from mmtrt.native.families import family_of
from mmtrt.native.image_file import open_image
from mmtrt.native.limits import check_request
from mmtrt.native.sampling import Sampling
from mmtrt.native.session import EngineSession, Generation
from mmtrt.native.tokens import PromptTokenizer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request."""

    prompt: str
    """As it was asked."""
    full_prompt: str
    """As the model read it, the image placeholder not yet repeated."""
    image: str | None
    """File name of its image."""
    text: str
    token_ids: list[int]
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers to one batch."""

    answers: list[Answer]
    vision_ms: float
    """Wall time of the vision engine; 0 without images."""
    generation: Generation


class MultimodalSession:
    """Engines, tokenizer and image preprocessing of one model."""

    def __init__(self, engine_dir: Path, model_dir: Path) -> None:
        """Open engines and model.

        Raises:
            NativeError: ART203 or RUN214, if one of them cannot be used, or they do not fit.
        """
        self.engines = EngineSession(engine_dir)
        llm = self.engines.llm
        self._family = family_of(llm.family)
        self._model_dir = model_dir
        self._tokenizer = PromptTokenizer(
            model_dir,
            image_token_id=llm.special_tokens.image,
            placeholder=self._family.image_placeholder,
        )

    def prompts(self, texts: Sequence[str], *, has_image: bool) -> list[str]:
        """Return the texts as the model was trained to read them.

        Raises:
            NativeError: RUN212, if a text holds more or fewer placeholders than it has images.
        """
        prompts = [self._family.prompt(text, has_image=has_image) for text in texts]
        placeholder, wanted = self._family.image_placeholder, int(has_image)
        for prompt in prompts:
            count = prompt.count(placeholder)
            if count != wanted:
                raise NativeError(
                    f"a text holds {count} times {placeholder} and has {wanted} images",
                    code="RUN212",
                    why="each request has one image, or none at all",
                    fix=f"write {placeholder} once, or leave it out: it is then put in its place",
                )
        return prompts

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the ids of prompts; the i-th image has the i-th block of the prompt table."""
        llm = self.engines.llm
        rows = llm.num_visual_features
        return [
            self._tokenizer.encode(
                prompt, rows=rows, vocab_size=llm.vocab_size, first_row=index * rows
            )
            for index, prompt in enumerate(prompts)
        ]

    def pixels(self, images: Sequence[Any]) -> Any:
        """Return PIL images as the vision engine wants them, float32 ``[N, 3, H, W]``.

        Raises:
            NativeError: RUN216, if the preprocessing gives another size than the engine takes.
        """
        import numpy as np

        size = self.engines.vision.image_size
        planes = read_preprocessing(self._model_dir)(images)
        for plane in planes:
            if plane.shape[1:] != size:
                raise NativeError(
                    f"the preprocessing gives {plane.shape[1]}x{plane.shape[2]} pixels, the vision "
                    f"engine takes {size[0]}x{size[1]}",
                    code="RUN216",
                    fix="give --model-dir the model that the engines were built from",
                )
        return np.stack(planes)

    def answer(
        self,
        texts: Sequence[str],
        image_paths: Sequence[str] = (),
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
    ) -> Answers:
        """Answer one batch; every limit is checked before any engine is loaded.

        Args:
            texts: one for each request.
            image_paths: one for each request, or none at all.
            max_new_tokens: most tokens of an answer.
            sampling: how tokens are chosen; greedy by default.
            keep_logits: keep the logits of every step in the result.

        Raises:
            NativeError: RUN2xx, if the request does not fit or its images cannot be read.
        """
        prompts = self.prompts(texts, has_image=bool(image_paths))
        ids = self.encode(prompts)
        engines = self.engines
        size = engines.size_of(ids, new_tokens=max_new_tokens, images=len(image_paths))
        check_request(size, engines.limits, engines.vision_max_batch_size if image_paths else None)

        table, vision_ms = None, 0.0
        if image_paths:
            # The same file may stand for several requests: read it once.
            opened = {path: open_image(path) for path in image_paths}
            pixels = self.pixels([opened[path] for path in image_paths])
            engines.load("vision")
            started = perf_counter()
            table = engines.encode_images(pixels).reshape(-1, engines.llm.hidden_size)
            vision_ms = (perf_counter() - started) * 1e3
        generation = engines.generate(
            ids,
            table,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            keep_logits=keep_logits,
        )
        return Answers(
            answers=[
                Answer(
                    prompt=texts[row],
                    full_prompt=prompt,
                    image=Path(image_paths[row]).name if image_paths else None,
                    text=self._tokenizer.decode(generation.token_ids[row]),
                    token_ids=generation.token_ids[row],
                    finish_reason=generation.finish_reasons[row],
                )
                for row, prompt in enumerate(prompts)
            ],
            vision_ms=vision_ms,
            generation=generation,
        )
