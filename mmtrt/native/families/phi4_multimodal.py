"""Phi-4-multimodal: crops and an overview, packed with line ends and a separator, and sounds.

Without the adapters of the published model, which transformers keeps outside of it.

Source: transformers 5.23, models/phi4_multimodal (modeling and processing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import (
    Frontend,
    Prepared,
    address_rows,
)
from mmtrt.native.graph import TRACED_BATCH, Graph
from mmtrt.native.hf_model import read_config
from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, llm_graph
from mmtrt.native.phi4_images import CROP_PX, MASK_SIDE, PATCH_PX, preprocess
from mmtrt.native.phi4_sounds import (
    check_hearing,
    engine_inputs,
    load_extractor,
    sound_graph,
    spectrogram,
)
from mmtrt.native.sound_file import Sound

_EMBED = "model.embed_tokens_extend."
_IMAGE = f"{_EMBED}image_embed."
_AUDIO = f"{_EMBED}audio_embed."


class CropEncoder(nn.Module):
    """Tower, pooling and projector of crops.

    ``pixels [N, 3, 448, 448], patch_mask [N, 32, 32] -> features [N, 256, D], line_end [D],
    separator [D]``. What transformers projects after packing is projected before: row by row.
    """

    def __init__(self, embed: Any) -> None:
        """Take the image part of a transformers model."""
        super().__init__()
        self.embed = embed

    def forward(
        self, pixels: torch.Tensor, patch_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the features of each crop, and the two features that stand between them."""
        embed = self.embed
        rows = embed.get_img_features(pixels, attention_mask=patch_mask)
        ends = embed.sub_img_feature_extensor.flatten(), embed.global_img_feature_extensor.flatten()
        return self._project(rows), self._project(ends[0]), self._project(ends[1])

    def _project(self, rows: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.gelu(self.embed.img_projection_up(rows))
        return self.embed.img_projection_down(inner)


class Phi4Frontend(HfFrontend):
    """See ``Frontend``."""

    # That of transformers needs torchvision to be loaded.
    processor_class = None
    placeholder = "<|image|>"
    picture = "<|image|>"
    sound = "<|audio|>"
    # Source: microsoft/Phi-4-multimodal-instruct model card, "Input Formats".
    template = "<|user|>{images}{text}<|end|><|assistant|>"

    @cached_property
    def extractor(self) -> Any:
        """What makes spectrograms, loaded when it is first needed."""
        return load_extractor(self.model_dir)

    @property
    def sampling_rate(self) -> int:
        """See ``TakesSounds.sampling_rate``."""
        return int(self.extractor.sampling_rate)

    @property
    def marks(self) -> Mapping[str, tuple[str, str]]:
        """See ``HfFrontend.marks``."""
        return {**super().marks, "audio": (self.sound, self.sound)}

    def sound_prompt(self, text: str, images: int) -> str:
        """See ``TakesSounds.sound_prompt``."""
        return self.written(text, [*["image"] * images, "audio"])

    def prepare_sounds(
        self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]], sounds: Sequence[Sound]
    ) -> Prepared:
        """See ``TakesSounds.prepare_sounds``."""
        # The same file may stand for several requests: prepare and encode it once.
        seen = {id(sound): spectrogram(self.extractor, sound) for sound in sounds}
        heard = [seen[id(sound)] for sound in sounds]
        singles = [self.process(*each) for each in zip(prompts, pictures, heard)]
        prepared = self.gathered(singles, [*map(len, pictures)])
        places = {key: place for place, key in enumerate(seen)}
        return replace(
            prepared,
            sounds=[engine_inputs(made["audio_input_features"]) for made in seen.values()],
            notes={**prepared.notes, "heard": [places[id(sound)] for sound in sounds]},
        )

    def process(
        self, prompt: str, images: Sequence[Any], heard: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the arrays of one request, with the names that the model takes.

        ``heard`` is the :func:`spectrogram` of its sound.
        """
        shown: dict[str, Any] = {}
        if images:
            try:
                shown = {name: value.numpy() for name, value in preprocess(images).items()}
            except ValueError as error:
                raise NativeError(str(error), code="RUN216") from error
        tokenizer = self.processor.tokenizer
        token = tokenizer.convert_ids_to_tokens(self.llm.special_tokens.image)
        first, *others = prompt.split(self.placeholder)
        rows = shown.pop("num_img_tokens", ())
        text = first + "".join(token * int(n) + other for n, other in zip(rows, others))
        if heard:
            text = text.replace(self.sound, self._sound_token * int(heard["audio_embed_sizes"][0]))
        ids = np.array([tokenizer(text, **self.text_settings(prompt))["input_ids"]], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), **shown, **(heard or {})}

    def address(self, single: Mapping[str, Any], first_row: int) -> list[int]:
        """Return the ids with rows in the places of two tokens: all of pictures, then a sound's."""
        ids = [int(id_) for id_ in single["input_ids"][0]]
        image, vocab_size = self.llm.special_tokens.image, self.llm.vocab_size
        addressed = address_rows(ids, image, first_row, vocab_size)
        if "audio_embed_sizes" in single:
            row = vocab_size + first_row + sum(id_ == image for id_ in ids)
            for place, id_ in enumerate(ids):
                if id_ == self._sound_id:
                    addressed[place], row = row, row + 1
        return addressed

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the crops of all pictures; masks tell which patches only pad."""

        def flat(name: str) -> Any:
            return np.concatenate(
                [
                    planes[: 1 + _crops(size)]
                    for single in shown
                    for planes, size in zip(single[name], single["image_sizes"])
                ]
            )

        return {
            "pixels": flat("image_pixel_values"),
            "patch_mask": flat("image_attention_mask") > 0,
        }

    def table(self, prepared: Prepared, features: Mapping[str, Any]) -> Any:
        """Return the rows of each request: those of all its pictures, then those of its sound."""
        singles = prepared.notes["singles"]
        pictures = iter(self._pictures(prepared, features) if prepared.pixels else ())
        heard = prepared.notes.get("heard", [None] * len(singles))
        rows = []
        for single, place in zip(singles, heard):
            is_shown = "image_sizes" in single
            if is_shown:
                rows += next(pictures)
            if place is not None:
                kind = "beside_pictures" if is_shown else "features"
                rows.append(features["sounds"][place][kind][: int(single["audio_embed_sizes"][0])])
        return np.concatenate(rows)

    def _pictures(self, prepared: Prepared, features: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Yield the rows of each request's pictures: crops line by line, a separator, the overview.

        Requests without a picture are left out.
        """
        rows, end = features["features"], 0
        side = int(rows.shape[1] ** 0.5)
        line_end, separator = features["line_end"][None], features["separator"][None]

        def lines(grid: Any) -> Any:
            ends = np.repeat(line_end[None], len(grid), axis=0)
            return np.concatenate([grid, ends], axis=1).reshape(-1, rows.shape[-1])

        for single in prepared.notes["shown"]:
            packed = []
            for size, masks in zip(single["image_sizes"], single["image_attention_mask"]):
                high, wide = (int(each) // CROP_PX for each in size)
                begin, end = end, end + 1 + high * wide

                def tiled(planes: Any, high: int = high, wide: int = wide) -> Any:
                    grid = planes.reshape(high, wide, side, side, -1).swapaxes(1, 2)
                    return grid.reshape(high * side, wide * side, -1)

                kept = tiled(masks[1 : 1 + high * wide, ::2, ::2])[..., 0] > 0
                crops = tiled(rows[begin + 1 : end])[: kept[:, 0].sum(), : kept[0].sum()]
                overview = rows[begin].reshape(side, side, -1)
                packed += [lines(crops), separator, lines(overview)]
            yield packed

    @property
    def _sound_id(self) -> int:
        return int(self.config.audio_config.audio_token_id)

    @property
    def _sound_token(self) -> str:
        return str(self.processor.tokenizer.convert_ids_to_tokens(self._sound_id))


def _crops(size: Any) -> int:
    """Return the crops of a picture that is (height, width) in all, without the overview."""
    return int(size[0]) // CROP_PX * (int(size[1]) // CROP_PX)


class Phi4Multimodal(HfFamily):
    """See ``Family``."""

    name = "phi4_multimodal"
    model_class = "Phi4MultimodalForCausalLM"
    parts: ClassVar[Parts] = {
        "vision": (_IMAGE,),
        "audio": (_AUDIO,),
        "llm": ("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head."),
    }

    def check_supported(self, config: Any) -> None:
        """Refuse crops of another size: transformers counts tokens with these numbers."""
        vision = config.vision_config
        if (vision.crop_size, vision.patch_size) != (CROP_PX, PATCH_PX):
            raise NativeError(
                f"crops of {vision.crop_size} px in patches of {vision.patch_size}",
                code="MDL208",
                why=f"the family counts on {CROP_PX} and {PATCH_PX}",
            )
        check_hearing(config)

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size of a crop."""
        return CROP_PX, CROP_PX

    def image_token(self, config: Any) -> int:
        """Return the id that stands for a row of visual features."""
        return config.vision_config.image_token_id

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of crops."""
        by_crop = {0: torch.export.Dim("crops")}
        return Graph(
            module=CropEncoder(model.model.embed_tokens_extend.image_embed),
            args=(
                torch.zeros(TRACED_BATCH, 3, CROP_PX, CROP_PX),
                torch.ones((TRACED_BATCH, MASK_SIDE, MASK_SIDE), dtype=torch.bool),
            ),
            dynamic_shapes=(by_crop, by_crop),
            input_names=["pixels", "patch_mask"],
            output_names=["features", "line_end", "separator"],
        )

    def audio_graph(self, model: Any) -> Graph:
        """Return the encoder of one sound."""
        return sound_graph(model.model.embed_tokens_extend.audio_embed)

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the usual language model."""
        config = model.config
        module = PromptTableLlm(
            model.model, model.lm_head, vocab_size=config.vocab_size, max_seq_len=max_seq_len
        )
        cache = CacheShape.of(config, max_seq_len)
        return llm_graph(module, cache, hidden_size=config.hidden_size)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        return Phi4Frontend(self.config(read_config(model_dir)), model_dir, llm)


FAMILY = Phi4Multimodal()
