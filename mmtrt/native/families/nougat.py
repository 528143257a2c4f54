"""Nougat: a Swin encoder of a page and an mBART decoder that attends to it.

Source: transformers 5.23, models/vision_encoder_decoder, models/donut (Swin) and models/mbart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from mmtrt.native.component import SpecialTokens
from mmtrt.native.cross_graph import CrossDecoder, decoder_graph
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.cross_frontend import PictureReader
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape
from mmtrt.native.pixel_graph import pixel_graph
from mmtrt.sizing.features.cross_attention import swin_grid


class PageEncoder(nn.Module):
    """Encoder and projection: ``pixels [N, 3, H, W] -> features [N, rows, D]``."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.encoder = model.encoder
        self.projection = getattr(model, "enc_to_dec_proj", None) or nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of each page."""
        return self.projection(self.encoder(pixels).last_hidden_state)


class NougatFrontend(PictureReader):
    """See ``Frontend``."""

    processor_class = "NougatProcessor"

    def process(self, prompt: str, images: Sequence[Any]) -> dict[str, Any]:
        """Return the pixels of one page; there is no prompt."""
        return self.read(images=list(images))

    def rows(self, pixels: Mapping[str, Any]) -> int:
        """Return the rows of the encoder's last grid, the same for every page."""
        return self.llm.num_visual_features


class Nougat(HfFamily):
    """See ``Family``."""

    name = "vision-encoder-decoder"
    model_class = "VisionEncoderDecoderModel"
    parts: ClassVar[Parts] = {"vision": ("encoder.", "enc_to_dec_proj."), "decoder": ("decoder.",)}
    unused = ("encoder.pooler.",)

    def check_supported(self, config: Any) -> None:
        """Refuse other encoders and decoders, which this model type may have too."""
        found = (config.encoder.model_type, config.decoder.model_type)
        if found != ("donut-swin", "mbart"):
            raise NativeError(
                f"{self.name} of {found[0]} and {found[1]} is not supported",
                code="MDL208",
                why="the native toolchain was tested with donut-swin and mbart",
            )

    def rows_per_image(self, config: Any) -> int:
        """Return the rows of the last grid: every stage but the first halves the one before."""
        encoder = config.encoder
        return prod(swin_grid(self.image_size(config), encoder.patch_size, len(encoder.depths) - 1))

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size that every page is brought to."""
        height, width = config.encoder.image_size
        return height, width

    def special_tokens(self, config: Any, generation: Mapping[str, Any]) -> SpecialTokens:
        """Return them with the token that decoding starts from."""
        decoder = config.decoder
        places = (generation, vars(config), vars(decoder))
        asked = (place.get("decoder_start_token_id") for place in places)
        start = next((token for token in asked if token is not None), decoder.bos_token_id)
        return self.started(config, generation, start)

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pages."""
        return pixel_graph(PageEncoder(model), *self.image_size(model.config))

    def decoder_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the decoder."""
        text = model.config.decoder
        heads = text.decoder_attention_heads
        cache = CacheShape(text.decoder_layers, heads, max_seq_len, text.d_model // heads)
        module = CrossDecoder(model.decoder.model.decoder, model.decoder.lm_head)
        return decoder_graph(module, cache, hidden_size=text.d_model)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return NougatFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Nougat()
