"""Kosmos-2: CLIP, a resampler of latent queries, and a decoder with sinusoidal positions.

Source: transformers 5.23, models/kosmos2 (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Engines, Prepared, Start
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.kv_cache import StaticKvCache
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, additive, llm_graph
from mmtrt.native.pixel_graph import pixel_graph
from mmtrt.native.steps import Window


class LatentEncoder(nn.Module):
    """Tower, normalisation and resampler: ``pixels [N, 3, H, W] -> features [N, rows, D]``."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_model = model.vision_model
        self.projection = model.image_to_text_projection

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of each picture."""
        hidden = self.vision_model(pixels).last_hidden_state
        normed = self.vision_model.model.post_layernorm(hidden)
        return self.projection(nn.functional.normalize(normed, dim=-1))[0]


class SinusoidalLlm(PromptTableLlm):
    """Scales text and features alike and adds positions; ``positions`` index their table."""

    def attend(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        cache: StaticKvCache,
        extras: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Go through the layers; the model's own forward would count positions from ids."""
        decoder = self.decoder
        places = decoder.embed_positions.weights.index_select(0, positions.reshape(-1))
        hidden = embeds * decoder.embed_scale + places.reshape(embeds.shape)
        mask = additive(seen)
        for layer in decoder.layers:
            hidden = layer(hidden, mask, past_key_values=cache)
        return decoder.layer_norm(hidden)


class Kosmos2Frontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "Kosmos2Processor"
    placeholder = ""
    max_images = 1

    def process(self, prompt: str, images: Any) -> dict[str, Any]:
        """Return the arrays of one request; the processor puts the picture before the text."""
        given = {"images": list(images)} if images else {}
        rows = self.config.latent_query_num
        settings = self.text_settings(prompt)
        return self.read(text=[prompt], num_image_tokens=rows, **given, **settings)

    def address(self, single: Mapping[str, Any], first_row: int) -> list[int]:
        """Return the ids; a mask tells which of them stand for features."""
        ids = np.asarray(single["input_ids"])[0].astype(np.int64)
        if "image_embeds_position_mask" in single:
            shows = np.asarray(single["image_embeds_position_mask"])[0].astype(bool)
            ids[shows] = self.llm.vocab_size + first_row + np.arange(int(shows.sum()))
        return [int(id_) for id_ in ids]

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Begin with the model's own count of positions.

        They start after the padding token's id. After the prompt they count the padding of the
        batch too, so that those of shorter requests jump.

        Source: ``create_position_ids_from_input_ids``; it is wrong, but the model's answers are
        what it makes of it.
        """
        base = super().start(prepared, features, engines)
        padding = self.config.text_config.pad_token_id

        def feed(window: Window) -> Mapping[str, Any]:
            counted = window.shown & (window.ids != padding)
            positions = (np.cumsum(counted, axis=1) + window.start) * counted + padding
            return {"positions": positions.astype(np.int64)}

        return Start(prompts=base.prompts, table=base.table, feed=feed)


class Kosmos2(HfFamily):
    """See ``Family``."""

    name = "kosmos-2"
    model_class = "Kosmos2ForConditionalGeneration"
    parts: ClassVar[Parts] = {
        "vision": ("vision_model.", "image_to_text_projection."),
        "llm": ("text_model.",),
    }

    def rows_per_image(self, config: Any) -> int:
        """Return the latent queries."""
        return config.latent_query_num

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size that every picture is brought to."""
        side = config.vision_config.image_size
        return side, side

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pictures."""
        return pixel_graph(LatentEncoder(model), *self.image_size(model.config))

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the decoder."""
        text = model.config.text_config
        module = SinusoidalLlm(
            model.text_model.model,
            model.text_model.lm_head,
            vocab_size=text.vocab_size,
            max_seq_len=max_seq_len,
        )
        return llm_graph(module, CacheShape.of(text, max_seq_len), hidden_size=text.hidden_size)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Kosmos2Frontend:
        """See ``Family.frontend``."""
        return Kosmos2Frontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Kosmos2()
