"""Gemma 3: SigLIP, and a language model whose picture tokens attend to each other both ways.

Source: transformers 5.23, models/gemma3 (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mmtrt.native.component import Component
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Engines, Prepared, Start
from mmtrt.native.graph import TRACED_BATCH, Extra, Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.kv_cache import StaticKvCache
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, additive, llm_graph
from mmtrt.native.pixel_graph import pixel_graph
from mmtrt.native.steps import Window, plain_positions

_NO_PICTURE = -1


class PooledEncoder(nn.Module):
    """Tower and pooling projector: ``pixels [N, 3, H, W] -> features [N, rows, D]``."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_tower = model.vision_tower
        self.multi_modal_projector = model.multi_modal_projector

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of each picture."""
        return self.multi_modal_projector(self.vision_tower(pixels).last_hidden_state)


class PictureBlocksLlm(PromptTableLlm):
    """Adds ``pictures`` int64 ``[B, MAX]``: the picture that a place of the cache belongs to.

    Tokens of one picture see each other; -1 belongs to none. Layers with a window do not see what
    lies further back, be it of their own picture.
    """

    extra_names = ("pictures",)

    def __init__(self, *parts: Any, window: int, **settings: Any) -> None:
        """Take what ``PromptTableLlm`` takes, and the window of the layers that have one."""
        super().__init__(*parts, **settings)
        self._window = window

    def attend(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        cache: StaticKvCache,
        extras: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Attend with one mask for each kind of layer."""
        pictures = extras["pictures"]
        asking = pictures.index_select(1, cache.positions)[:, :, None]
        whole = seen | ((asking == pictures[:, None, :]) & (asking > _NO_PICTURE))
        places = torch.arange(pictures.shape[1])
        near = places[None] > cache.positions[:, None] - self._window
        return self.decoder(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask={
                "full_attention": additive(whole),
                "sliding_attention": additive(whole & near[None]),
            },
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


class Gemma3Frontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "Gemma3Processor"
    placeholder = "<start_of_image>"
    picture = "<start_of_image>"
    # Source: chat_template.json of google/gemma-3-4b-it; the tokenizer puts <bos> before it.
    template = "<start_of_turn>user\n{images}{text}<end_of_turn>\n<start_of_turn>model\n"

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Begin with the pictures' numbers: tokens of one stand side by side."""
        base = super().start(prepared, features, engines)

        def feed(window: Window) -> Mapping[str, Any]:
            return {"positions": plain_positions(window), "pictures": pictures(window)}

        numbers: list[Any] = []

        def pictures(window: Window) -> Any:
            if window.is_prefill:
                shows = window.ids >= self.llm.vocab_size
                begins = shows & ~np.pad(shows, ((0, 0), (1, 0)))[:, :-1]
                whole = np.full(window.mask.shape, _NO_PICTURE, dtype=np.int64)
                whole[:, : shows.shape[1]] = np.where(
                    shows, np.cumsum(begins, axis=1) - 1, _NO_PICTURE
                )
                numbers[:] = [whole]
            return numbers[0]

        return Start(prompts=base.prompts, table=base.table, feed=feed)


class Gemma3(HfFamily):
    """See ``Family``."""

    name = "gemma3"
    model_class = "Gemma3ForConditionalGeneration"
    parts: ClassVar[Parts] = {
        "vision": ("model.vision_tower.", "model.multi_modal_projector."),
        "llm": ("model.language_model.", "lm_head."),
    }

    def rows_per_image(self, config: Any) -> int:
        """Return the rows after pooling."""
        return config.mm_tokens_per_image

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size that every picture is brought to."""
        side = config.vision_config.image_size
        return side, side

    def text_config(self, component: Component) -> dict[str, Any]:
        """Return it without the window: the graph has a mask for it."""
        return {**super().text_config(component), "sliding_window": None}

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pictures."""
        return pixel_graph(PooledEncoder(model.model), *self.image_size(model.config))

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the language model with the numbers of pictures."""
        text = model.config.get_text_config()
        module = PictureBlocksLlm(
            model.model.language_model,
            model.lm_head,
            vocab_size=text.vocab_size,
            max_seq_len=max_seq_len,
            window=text.sliding_window or max_seq_len,
        )
        pictures = torch.zeros((TRACED_BATCH, max_seq_len), dtype=torch.int64)
        return llm_graph(
            module,
            CacheShape.of(text, max_seq_len),
            hidden_size=text.hidden_size,
            extras={"pictures": Extra(pictures, {0: "batch"})},
        )

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Gemma3Frontend:
        """See ``Family.frontend``."""
        return Gemma3Frontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Gemma3()
