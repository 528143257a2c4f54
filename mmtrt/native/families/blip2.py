"""BLIP-2: ViT and Q-Former, with OPT as a decoder or with T5 as encoder and decoder.

Source: transformers 5.23, models/blip_2, models/opt and models/t5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmtrt.native.component import SpecialTokens
from mmtrt.native.cross_graph import (
    CrossDecoder,
    PromptTableEncoder,
    decoder_graph,
    encoder_graph,
)
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.cross_frontend import feed_states
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Engines, Frontend, Prepared, Start
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, llm_graph
from mmtrt.native.pixel_graph import pixel_graph

_VISION = ("vision_model.", "qformer.", "query_tokens", "language_projection.")
_SHARED = "language_model.shared."
_TEXT_TYPES = ("opt", "t5")


class QueryEncoder(nn.Module):
    """ViT, Q-Former and projection: ``pixels [N, 3, H, W] -> features [N, rows, D]``."""

    def __init__(self, model: Any) -> None:
        """Take the parts of a transformers model."""
        super().__init__()
        self.vision_model = model.vision_model
        self.qformer = model.qformer
        self.query_tokens = model.query_tokens
        self.projection = model.language_projection

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of each picture; the Q-Former sees all of it."""
        hidden = self.vision_model(pixels).last_hidden_state
        queries = self.query_tokens.expand(pixels.shape[0], -1, -1)
        asked = self.qformer(query_embeds=queries, encoder_hidden_states=hidden)
        return self.projection(asked.last_hidden_state)


class Blip2Frontend(HfFrontend):
    """See ``Frontend``; the processor puts the queries before the text, even before its start."""

    processor_class = "Blip2Processor"
    placeholder = ""
    max_images = 1

    def process(self, prompt: str, images: Sequence[Any]) -> dict[str, Any]:
        """Return the arrays of one request."""
        if not images:
            raise NativeError("a request has no image, this model needs one", code="RUN212")
        return self.read(text=[prompt], images=list(images), **self.text_settings(prompt))


class Blip2T5Frontend(Blip2Frontend):
    """Sends the prompt through the text encoder; the decoder starts from one token."""

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """See ``Frontend.start``."""
        base = super().start(prepared, features, engines)
        states, mask = engines.encode_prompts(base.prompts, base.table)
        first = self.llm.special_tokens.start or 0
        return Start(prompts=[[first] for _ in base.prompts], feed=feed_states(states, mask))

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """See ``Frontend.prepare``; the decoder attends to every token of the prompt."""
        base = super().prepare(prompts, pictures)
        return Prepared(
            prompts=base.prompts,
            pixels=base.pixels,
            vision_items=base.vision_items,
            encoder_len=max(len(ids) for ids in base.prompts),
            notes=base.notes,
        )


class Blip2(HfFamily):
    """See ``Family``."""

    name = "blip-2"
    model_class = "Blip2ForConditionalGeneration"

    def check_supported(self, config: Any) -> None:
        """Refuse other language models."""
        if config.text_config.model_type not in _TEXT_TYPES:
            raise NativeError(
                f"text_config.model_type {config.text_config.model_type!r} is not supported",
                code="MDL208",
                why=f"the native toolchain was tested with: {', '.join(_TEXT_TYPES)}",
            )

    def parts_of(self, config: Any) -> Parts:
        """Return the components by the language model; T5's embedding belongs to both."""
        if config.use_decoder_only_language_model:
            return {"vision": _VISION, "llm": ("language_model.",)}
        return {
            "vision": _VISION,
            "encoder": (_SHARED, "language_model.encoder."),
            "decoder": (_SHARED, "language_model.decoder.", "language_model.lm_head."),
        }

    def rows_per_image(self, config: Any) -> int:
        """Return the queries."""
        return config.num_query_tokens

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size that every picture is brought to."""
        side = config.vision_config.image_size
        return side, side

    def special_tokens(self, config: Any, generation: Mapping[str, Any]) -> SpecialTokens:
        """Return them with T5's token that decoding starts from."""
        start = None
        if not config.use_decoder_only_language_model:
            start = config.text_config.decoder_start_token_id
            start = config.text_config.pad_token_id if start is None else start
        return self.started(config, generation, start)

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of pictures."""
        return pixel_graph(QueryEncoder(model), *self.image_size(model.config))

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return OPT."""
        text = model.config.text_config
        module = PromptTableLlm(
            model.language_model.model.decoder,
            model.language_model.lm_head,
            vocab_size=text.vocab_size,
            max_seq_len=max_seq_len,
        )
        cache = CacheShape.of(text, max_seq_len)
        return llm_graph(module, cache, hidden_size=text.hidden_size)

    def encoder_graph(self, model: Any) -> Graph:
        """Return T5's encoder."""
        text = model.config.text_config
        module = PromptTableEncoder(model.language_model.encoder, vocab_size=text.vocab_size)
        return encoder_graph(module, hidden_size=text.d_model)

    def decoder_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return T5's decoder."""
        text = model.config.text_config
        cache = CacheShape(text.num_decoder_layers, text.num_heads, max_seq_len, text.d_kv)
        scale = text.d_model**-0.5 if text.scale_decoder_outputs else 1.0
        language = model.language_model
        module = CrossDecoder(language.decoder, language.lm_head, scale=scale)
        return decoder_graph(module, cache, hidden_size=text.d_model)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        config = self.config(read_config(model_dir))
        apart = not config.use_decoder_only_language_model
        return (Blip2T5Frontend if apart else Blip2Frontend)(config, model_dir, llm)


FAMILY = Blip2()
