"""LLaVA's texts and pictures without torch and transformers: our own CLIP preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.clip_images import read_preprocessing
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.frontend import Engines, Prepared, Start, check_placeholders
from mmtrt.native.tokens import PromptTokenizer

PLACEHOLDER = "<image>"


class LlavaFrontend:
    """See ``Frontend``."""

    def __init__(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> None:
        """Load the tokenizer.

        Raises:
            NativeError: RUN214, if there is none, or its image token is not the engine's.
        """
        self._model_dir = model_dir
        self._llm, self._vision = llm, vision
        self._tokenizer = PromptTokenizer(
            model_dir, image_token_id=llm.special_tokens.image, placeholder=PLACEHOLDER
        )

    def prompt(self, text: str, images: int) -> str:
        """See ``Frontend.prompt``; the template is that of LLaVA 1.5 (Vicuna).

        Source: llava-hf/llava-1.5-7b-hf model card, "How to use the model".
        """
        prompt = text
        if PLACEHOLDER not in text:
            prompt = f"USER: {(PLACEHOLDER + chr(10)) * images}{text} ASSISTANT:"
        check_placeholders(prompt, PLACEHOLDER, images)
        return prompt

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """See ``Frontend.prepare``; the i-th image has the i-th block of the prompt table."""
        rows = self._llm.num_visual_features
        ids, seen = [], 0
        for prompt, images in zip(prompts, pictures):
            first = seen * rows
            ids.append(
                self._tokenizer.encode(
                    prompt, rows=rows, vocab_size=self._llm.vocab_size, first_row=first
                )
            )
            seen += len(images)
        flat = [image for images in pictures for image in images]
        pixels = {"pixels": self._pixels(flat)} if flat else {}
        return Prepared(prompts=ids, pixels=pixels, vision_items=len(flat))

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """See ``Frontend.start``."""
        if features is None:
            return Start(prompts=prepared.prompts)
        return Start(
            prompts=prepared.prompts,
            table=features["features"].reshape(-1, self._llm.hidden_size),
        )

    def decode(self, ids: list[int]) -> str:
        """See ``Frontend.decode``."""
        return self._tokenizer.decode(ids)

    def _pixels(self, images: Sequence[Any]) -> Any:
        """Return PIL images as float32 ``[N, 3, H, W]``."""
        import numpy as np

        size = self._vision.image_size
        # The same picture may stand for several requests: prepare it once.
        once = {id(image): image for image in images}
        planes = dict(zip(once, read_preprocessing(self._model_dir)(list(once.values()))))
        for plane in planes.values():
            if plane.shape[1:] != size:
                raise NativeError(
                    f"the preprocessing gives {plane.shape[1]}x{plane.shape[2]} pixels, the vision "
                    f"engine takes {size[0]}x{size[1]}",
                    code="RUN216",
                    fix="give --model-dir the model that the engines were built from",
                )
        return np.stack([planes[id(image)] for image in images])
