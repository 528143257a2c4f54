"""Fuyu: patches of a picture, projected by one matrix, straight into Persimmon.

Source: transformers 5.23, models/fuyu (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import read_config

_TRACED_PATCHES = 6


class FuyuFrontend(HfFrontend):
    """See ``Frontend``; the processor puts the patches before the text, each row with its end."""

    processor_class = "FuyuProcessor"
    placeholder = ""
    template = "{text}\n"
    max_images = 1

    @cached_property
    def processor(self) -> Any:
        """The processor, whose patches are cut in numpy but asked for in torch.

        transformers 5.23 hands ``FuyuImageProcessorPil.patchify_image`` a tensor, and it fails.
        """
        processor = super().processor
        images = processor.image_processor
        cut = images.patchify_image

        def patchify(image: Any, patch_size: Any = None) -> torch.Tensor:
            patches = torch.as_tensor(cut(torch.as_tensor(image).numpy(), patch_size))
            return patches.reshape(1, *patches.shape[-2:])

        images.patchify_image = patchify
        return processor

    def process(self, prompt: str, images: Sequence[Any]) -> dict[str, Any]:
        """Return the arrays of one request."""
        if not images:
            raise NativeError("a request has no image, this model needs one", code="RUN212")
        given = self.read(
            text=[prompt],
            images=list(images),
            return_tensors="pt",
            return_legacy_image_output=False,
            **self.text_settings(prompt),
        )
        return {name: value.numpy() for name, value in given.items() if torch.is_tensor(value)}

    def items(self, pixels: Mapping[str, Any], pictures: int) -> int:
        """Return the pictures: their patches are one matrix product."""
        return pictures


class Fuyu(HfFamily):
    """See ``Family``."""

    name = "fuyu"
    model_class = "FuyuForCausalLM"
    parts: ClassVar[Parts] = {
        "vision": ("model.vision_embed_tokens.",),
        "llm": ("model.language_model.", "lm_head."),
    }

    def vision_graph(self, model: Any) -> Graph:
        """Return the projection ``pixels [P, C] -> features [P, D]`` of all patches."""
        projection = model.model.vision_embed_tokens
        return Graph(
            module=projection,
            args=(torch.zeros(_TRACED_PATCHES, projection.in_features),),
            dynamic_shapes=({0: torch.export.Dim("patches")},),
            input_names=["pixels"],
            output_names=["features"],
        )

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return FuyuFrontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Fuyu()
