"""Answer texts about images: prompts and pixels in, text out, over an ``EngineSession``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from mmtrt.native.families import family_of
from mmtrt.native.frontend import Frontend, Prepared
from mmtrt.native.generation import Generation, ms_since
from mmtrt.native.image_file import open_image
from mmtrt.native.limits import START_TOKENS, check_request
from mmtrt.native.sampling import Sampling
from mmtrt.native.session import EngineSession


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request."""

    prompt: str
    """As it was asked."""
    full_prompt: str
    """As the model read it, the image placeholder not yet repeated."""
    images: tuple[str, ...]
    """File names of its images."""
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
        self.frontend: Frontend = family_of(llm.family).frontend(
            model_dir, llm, self.engines.vision
        )

    def prompts(self, texts: Sequence[str], *, images: int) -> list[str]:
        """Return texts that have as many images each, as the model was trained to read them.

        Raises:
            NativeError: RUN212, if a text holds more or fewer placeholders than it has images.
        """
        return [self.frontend.prompt(text, images) for text in texts]

    def prepare(self, prompts: Sequence[str], image_paths: Sequence[Sequence[str]]) -> Prepared:
        """Read the images and return the batch as tensors.

        Raises:
            NativeError: RUN21x, if the images cannot be read or the model cannot take them.
        """
        # The same file may stand for several requests: read it once.
        opened = {path: open_image(path) for paths in image_paths for path in paths}
        return self.frontend.prepare(
            prompts, [[opened[path] for path in paths] for paths in image_paths]
        )

    def answer(
        self,
        texts: Sequence[str],
        image_paths: Sequence[Sequence[str]] = (),
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
    ) -> Answers:
        """Answer one batch; every limit is checked before any engine is loaded.

        Args:
            texts: one for each request.
            image_paths: the images of each request, or nothing at all.
            max_new_tokens: most tokens of an answer.
            sampling: how tokens are chosen; greedy by default.
            keep_logits: keep the logits of every step in the result.

        Raises:
            NativeError: RUN2xx, if the request does not fit or its images cannot be read.
        """
        paths = [list(each) for each in image_paths] or [[] for _ in texts]
        prompts = [self.frontend.prompt(*pair) for pair in zip(texts, map(len, paths))]
        prepared = self.prepare(prompts, paths)
        engines = self.engines
        is_apart = engines.llm.component == "decoder"
        size = engines.size_of(
            prepared.prompts,
            new_tokens=max_new_tokens,
            images=prepared.vision_items,
            encoder_len=prepared.encoder_len,
            start_len=START_TOKENS if is_apart else None,
        )
        check_request(
            size, engines.limits, engines.vision_max_batch_size if prepared.pixels else None
        )
        features, vision_ms = None, 0.0
        if prepared.pixels:
            engines.load("vision")
            started = perf_counter()
            features = engines.encode_images(prepared.pixels, prepared.vision_items)
            vision_ms = ms_since(started)
        start = self.frontend.start(prepared, features, engines)
        generation = engines.generate(
            start.prompts,
            start.table,
            feed=start.feed,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            keep_logits=keep_logits,
        )
        return Answers(
            answers=[
                Answer(
                    prompt=texts[row],
                    full_prompt=prompt,
                    images=tuple(Path(path).name for path in paths[row]),
                    text=self.frontend.decode(generation.token_ids[row]),
                    token_ids=generation.token_ids[row],
                    finish_reason=generation.finish_reasons[row],
                )
                for row, prompt in enumerate(prompts)
            ],
            vision_ms=vision_ms,
            generation=generation,
        )
