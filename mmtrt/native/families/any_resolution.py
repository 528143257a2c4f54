"""What the any-resolution families share: square tiles, packed with newline features afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from mmtrt.native.families.hf_family import HfFamily, Parts
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.families.tower import TileEncoder
from mmtrt.native.frontend import Prepared
from mmtrt.native.graph import Graph
from mmtrt.native.pixel_graph import pixel_graph


class AnyResolution(HfFamily):
    """Base of the families; the vision engine takes tiles, packing stays outside of it."""

    plain_text: ClassVar[bool] = True
    parts: ClassVar[Parts] = {
        "vision": (
            "model.vision_tower.",
            "model.multi_modal_projector.",
            "model.image_newline",
        ),
        "llm": ("model.language_model.", "lm_head."),
    }

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return the size of a tile."""
        side = config.vision_config.image_size
        return side, side

    def vision_graph(self, model: Any) -> Graph:
        """Return the encoder of tiles."""
        size = self.image_size(model.config)
        return pixel_graph(TileEncoder(model.model), *size, outputs=("features", "newline"))


class TileFrontend(HfFrontend):
    """Base of the frontends: a family says how its tiles are packed."""

    def tiles(self, size: Any, images: int) -> int:
        """Return the tiles of a picture of (height, width), one of so many of its request."""
        return image_size_to_num_patches(
            image_size=[int(side) for side in size],
            grid_pinpoints=self.config.image_grid_pinpoints,
            patch_size=self.config.vision_config.image_size,
        )

    def pack(self, features: list[Any], sizes: Any, newline: Any) -> list[Any]:
        """Return the rows ``[rows, D]`` of each picture from its tiles ``[tiles, rows, D]``."""
        raise NotImplementedError

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the tiles of all pictures without those that only pad a batch."""
        import numpy as np

        tiles = []
        for single in shown:
            sizes = single["image_sizes"]
            for planes, size in zip(single["pixel_values"], sizes):
                tiles.append(planes[: self.tiles(size, len(sizes))])
        return {"pixels": np.ascontiguousarray(np.concatenate(tiles), dtype=np.float32)}

    def table(self, prepared: Prepared, features: Mapping[str, Any]) -> Any:
        """Return the packed rows of all pictures."""
        import numpy as np

        flat, rows, end = torch.from_numpy(features["features"]), [], 0
        newline = torch.from_numpy(features["newline"])
        for single in prepared.notes["shown"]:
            sizes = single["image_sizes"]
            parts = []
            for size in sizes:
                begin, end = end, end + self.tiles(size, len(sizes))
                parts.append(flat[begin:end])
            rows += self.pack(parts, torch.as_tensor(sizes), newline)
        return np.concatenate([each.numpy() for each in rows])
