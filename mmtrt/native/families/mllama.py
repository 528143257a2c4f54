"""Llama 3.2 Vision: tiles of a picture, which some layers of the language model attend to across.

Source: transformers 5.23, models/mllama (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.families.mllama_modules import CrossAttendingLlm, TiledEncoder
from mmtrt.native.frontend import Engines, Frontend, Prepared, Start
from mmtrt.native.graph import TRACED_BATCH, TRACED_TOKENS, Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, Sides
from mmtrt.native.steps import Window, plain_positions

_CHANNELS = 3
_TRACED_STATES = 7
_SPECIAL_ROWS = 8
"""Rows of the embedding beyond the vocabulary of the head; the image token is one of them."""


class MllamaFrontend(HfFrontend):
    """See ``Frontend``."""

    processor_class = "MllamaProcessor"
    placeholder = "<|image|>"
    picture = "<|image|>"
    # Source: meta-llama/Llama-3.2-11B-Vision model card; the base model continues a text.
    template = "{images}<|begin_of_text|>{text}"

    def address(self, single: Mapping[str, Any], first_row: int) -> list[int]:
        """Return the ids as they are: an image is one token."""
        return [int(id_) for id_ in np.asarray(single["input_ids"])[0]]

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the tiles of all pictures, one after the other."""

        def flat(name: str) -> Any:
            return np.concatenate([np.asarray(single[name])[0] for single in shown])

        return {
            "pixels": np.ascontiguousarray(flat("pixel_values"), dtype=np.float32),
            "aspect_ratios": flat("aspect_ratio_ids")[:, None],
            "tile_mask": flat("aspect_ratio_mask")[:, None],
        }

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """See ``Frontend.prepare``."""
        base = super().prepare(prompts, pictures)
        most = max(map(len, pictures))
        return Prepared(
            prompts=base.prompts,
            pixels=base.pixels,
            vision_items=base.vision_items,
            encoder_len=most * self._rows(),
            notes={**base.notes, "images": [len(images) for images in pictures]},
        )

    def _rows(self) -> int:
        """Return the states of one picture."""
        return self.config.vision_config.max_num_tiles * self._patches()

    def _patches(self) -> int:
        """Return the states of one tile: its patches and a class row."""
        vision = self.config.vision_config
        return (vision.image_size // vision.patch_size) ** 2 + 1

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """Begin with the states of each request and with what each of its tokens attends to."""
        images = prepared.notes["images"]
        width = max(max(images), 1) * self._rows()
        states = np.zeros((len(images), width, self.llm.hidden_size), dtype=np.float32)
        masks = []
        row = 0
        for index, single in enumerate(prepared.notes["singles"]):
            length = len(prepared.prompts[index])
            sees = np.zeros((length, width), dtype=np.bool_)
            count = images[index]
            if features is not None and count:
                found = features["features"][row : row + count]
                states[index, : count * self._rows()] = found.reshape(-1, found.shape[-1])
                row += count
                tiles = np.asarray(single["cross_attention_mask"])[0].reshape(length, -1)
                sees[:, : count * self._rows()] = np.repeat(tiles > 0, self._patches(), axis=1)
            masks.append(sees)

        def feed(window: Window) -> Mapping[str, Any]:
            if window.is_prefill:
                seen = np.zeros((*window.ids.shape, width), dtype=np.bool_)
                for index, each in enumerate(masks):
                    seen[index, -len(each) :] = each
            else:
                # A new token attends to what the last token of the prompt did.
                seen = np.stack([each[-1:] for each in masks])
            return {
                "positions": plain_positions(window),
                "states": states,
                "states_mask": seen,
            }

        return Start(prompts=prepared.prompts, feed=feed)


class Mllama(HfFamily):
    """See ``Family``."""

    name = "mllama"
    model_class = "MllamaForConditionalGeneration"
    parts: ClassVar[Parts] = {
        "vision": ("model.vision_model.", "model.multi_modal_projector."),
        "llm": ("model.language_model.", "lm_head."),
    }

    def vocab_size(self, text: Any) -> int:
        """Return the rows of the embedding: all ids are tokens."""
        return text.vocab_size + _SPECIAL_ROWS

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size of a tile."""
        side = config.vision_config.image_size
        return side, side

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pictures."""
        tiles = model.config.vision_config.max_num_tiles
        by_image = {0: torch.export.Dim("images")}
        ratios = torch.ones((TRACED_BATCH, 1), dtype=torch.int64)
        return Graph(
            module=TiledEncoder(model.model),
            args=(
                torch.zeros(TRACED_BATCH, tiles, _CHANNELS, *self.image_size(model.config)),
                ratios,
                torch.ones((TRACED_BATCH, 1, tiles), dtype=torch.int64),
            ),
            dynamic_shapes=(by_image, by_image, by_image),
            input_names=["pixels", "aspect_ratios", "tile_mask"],
            output_names=["features"],
        )

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the language model."""
        text = model.config.text_config
        own = [n for n in range(text.num_hidden_layers) if n not in text.cross_attention_layers]
        heads = text.num_attention_heads
        size = text.hidden_size // heads
        cache = CacheShape(len(own), text.num_key_value_heads or heads, max_seq_len, size)
        side = Sides()
        by_batch, by_token = side({0: "batch"}), side({0: "batch", 1: "tokens"})
        layers = [by_batch] * cache.layers
        ids = torch.zeros((TRACED_BATCH, TRACED_TOKENS), dtype=torch.int64)
        seen = torch.ones((TRACED_BATCH, TRACED_TOKENS, _TRACED_STATES), dtype=torch.bool)
        return Graph(
            module=CrossAttendingLlm(model.model.language_model, model.lm_head, own),
            args=(
                ids,
                ids.clone(),
                torch.zeros(1, dtype=torch.int64),
                torch.ones((TRACED_BATCH, max_seq_len), dtype=torch.bool),
                torch.zeros((TRACED_BATCH, _TRACED_STATES, text.hidden_size)),
                seen,
                cache.zeros(TRACED_BATCH),
                cache.zeros(TRACED_BATCH),
            ),
            dynamic_shapes=(
                by_token,
                by_token,
                None,
                by_batch,
                side({0: "batch", 1: "states"}),
                side({0: "batch", 1: "tokens", 2: "states"}),
                layers,
                layers,
            ),
            input_names=[
                *("ids", "positions", "start", "kv_mask", "states", "states_mask"),
                *cache.names,
            ],
            output_names=["logits", *(f"{name}_out" for name in cache.names)],
        )

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return MllamaFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Mllama()
