"""DePlot and other Pix2Struct models: flattened patches, and a decoder that attends to them.

Source: transformers 5.23, models/pix2struct (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mmtrt.native.component import SpecialTokens
from mmtrt.native.cross_graph import CrossDecoder, decoder_graph
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.cross_frontend import PictureReader
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import joined
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import TRACED_BATCH, Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, additive

_PLACE_VALUES = 2
_CHANNELS = 3
_TRACED_PATCHES = 6


class FlattenedEncoder(nn.Module):
    """The encoder of patches: ``pixels [N, E, C], patch_mask [N, E] -> features [N, E, D]``.

    E: patches that every picture is padded to; C: row, column and values of a patch.
    """

    def __init__(self, encoder: Any) -> None:
        """Take the encoder of a transformers model."""
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: torch.Tensor, patch_mask: torch.Tensor) -> torch.Tensor:
        """Return the features of each picture."""
        mask = additive(patch_mask[:, None, :])
        return self.encoder(pixels, attention_mask=mask).last_hidden_state


class HeadedDecoder(CrossDecoder):
    """A decoder that has its head inside and gives logits."""

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the logits of the last token."""
        return outputs.logits[:, -1]


class DeplotFrontend(PictureReader):
    """See ``Frontend``."""

    processor_class = "Pix2StructProcessor"

    @cached_property
    def processor(self) -> Any:
        """The processor, which draws questions in the font beside the model.

        transformers fetches one from a hub at every question.

        Raises:
            NativeError: RUN214, if there is no font.
        """
        processor = super().processor
        images = processor.image_processor
        if images.is_vqa:
            draw, font = images.render_header, _font(self.model_dir)
            images.render_header = lambda image, header, **_: draw(image, header, font_path=font)
        return processor

    def process(self, prompt: str, images: Sequence[Any]) -> dict[str, Any]:
        """Return the patches of one picture; a VQA model has its question drawn above it."""
        images_processor = self.processor.image_processor
        asked = {"text": prompt} if images_processor.is_vqa else {}
        # The processor's own default would win over the saved value.
        most = images_processor.max_patches
        return self.read(images=list(images), max_patches=most, **asked)

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the patches of all pictures and which of them are there."""
        mask = np.asarray(joined(shown, "attention_mask")) > 0
        return {"pixels": joined(shown, "flattened_patches"), "patch_mask": mask}

    def rows(self, pixels: Mapping[str, Any]) -> int:
        """Return the patches that a picture is padded to."""
        return int(pixels["pixels"].shape[1])

    def mask(self, pixels: Mapping[str, Any]) -> Any:
        """Return which patches are there."""
        return pixels["patch_mask"]


def _font(model_dir: Path) -> str:
    """Return the font of a model that has its question drawn above the picture."""
    fonts = sorted(path for path in model_dir.iterdir() if path.suffix.lower() == ".ttf")
    if not fonts:
        raise NativeError(
            f"{model_dir}: no font to draw the question in",
            code="RUN214",
            why="is_vqa is true, and transformers' own font (Arial.TTF of ybelkada/fonts) is not "
            "part of the model",
            fix="put a TrueType font beside the model's files, as Arial.TTF",
        )
    return str(fonts[0])


class Deplot(HfFamily):
    """See ``Family``."""

    name = "pix2struct"
    model_class = "Pix2StructForConditionalGeneration"
    parts: ClassVar[Parts] = {"vision": ("encoder.",), "decoder": ("decoder.",)}

    def special_tokens(self, config: Any, generation: Mapping[str, Any]) -> SpecialTokens:
        """Return them with the token that decoding starts from."""
        return self.started(config, generation, config.text_config.decoder_start_token_id)

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of patches."""
        vision = model.config.vision_config
        values = _PLACE_VALUES + _CHANNELS * vision.patch_size**2
        by_patch = {0: torch.export.Dim("images"), 1: torch.export.Dim("patches")}
        return Graph(
            module=FlattenedEncoder(model.encoder),
            args=(
                torch.zeros(TRACED_BATCH, _TRACED_PATCHES, values),
                torch.ones(TRACED_BATCH, _TRACED_PATCHES, dtype=torch.bool),
            ),
            dynamic_shapes=(by_patch, by_patch),
            input_names=["pixels", "patch_mask"],
            output_names=["features"],
        )

    def decoder_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the decoder."""
        text = model.config.text_config
        cache = CacheShape(text.num_layers, text.num_heads, max_seq_len, text.d_kv)
        module = HeadedDecoder(model.decoder, None)
        return decoder_graph(module, cache, hidden_size=text.hidden_size)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return DeplotFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Deplot()
