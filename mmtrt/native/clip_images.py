"""CLIP's image preprocessing in PIL and numpy, equal to transformers bit for bit, without torch.

Driven by the model's own ``preprocessor_config.json`` or ``processor_config.json``; settings that
it does not know are refused instead of ignored.

Source: transformers 5.23, CLIPImageProcessorPil and image_transforms; compared in
``tests/native/test_clip_images.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.json_file import read_json

_TYPES = tuple(
    f"CLIP{suffix}"
    for suffix in ("ImageProcessor", "ImageProcessorPil", "ImageProcessorFast", "FeatureExtractor")
)
_PLACES = ("preprocessor_config.json", "processor_config.json")
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = 3
_OPAQUE_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class ClipPreprocessing:
    """The settings, with transformers' defaults for what a file leaves out."""

    do_convert_rgb: bool = True
    do_resize: bool = True
    shortest_edge: int | None = 224
    """Pixels of the shorter side after resizing; ``None`` where ``size`` fixes both sides."""
    size: tuple[int, int] | None = None
    """Height and width after resizing, whatever the aspect ratio."""
    resample: int = _BICUBIC
    do_center_crop: bool = True
    crop_size: tuple[int, int] = (224, 224)
    """Height and width."""
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...] = _MEAN
    image_std: tuple[float, ...] = _STD

    def __call__(self, images: Sequence[Any]) -> list[Any]:
        """Return one float32 array ``[3, H, W]`` for each PIL image."""
        return [self._one(image) for image in images]

    def _one(self, image: Any) -> Any:
        import numpy as np

        pixels = np.array(_to_rgb(image) if self.do_convert_rgb else image)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise NativeError("an image has not 3 channels", code="RUN213", fix="convert it to RGB")
        if self.do_resize:
            pixels = self._resize(pixels)
        planes = np.moveaxis(pixels, -1, 0)
        if self.do_center_crop:
            planes = _center_crop(planes, self.crop_size)
        if self.do_rescale:
            planes = (planes.astype(np.float64) * self.rescale_factor).astype(np.float32)
        if self.do_normalize:
            planes = planes.astype(np.float32)
            mean, std = (np.array(v, np.float32) for v in (self.image_mean, self.image_std))
            planes = ((planes.T - mean) / std).T
        return np.ascontiguousarray(planes, dtype=np.float32)

    def _resize(self, pixels: Any) -> Any:
        import numpy as np
        from PIL import Image

        height, width = pixels.shape[:2]
        if self.size is not None:
            new_height, new_width = self.size
        else:
            assert self.shortest_edge is not None  # one of the two is set
            short, long = min(height, width), max(height, width)
            # int() cuts: what transformers and torchvision do.
            new_long = int(self.shortest_edge * long / short)
            is_tall = width <= height
            new_height = new_long if is_tall else self.shortest_edge
            new_width = self.shortest_edge if is_tall else new_long
        resample = Image.Resampling(self.resample)
        return np.array(Image.fromarray(pixels).resize((new_width, new_height), resample))


def read_preprocessing(model_dir: Path) -> ClipPreprocessing:
    """Read the settings of a model directory.

    Raises:
        NativeError: RUN214, if there are none, or some that this module does not implement.
    """
    place = next((model_dir / name for name in _PLACES if (model_dir / name).is_file()), None)
    if place is None:
        raise NativeError(
            f"{model_dir}: neither {' nor '.join(_PLACES)}",
            code="RUN214",
            fix="give --model-dir the model's own directory, with its processor files",
        )
    document = read_json(place, code="RUN214", what="the image preprocessing")
    # transformers 5 nests the settings in the processor's file.
    settings = document.get("image_processor", document)
    kind = settings.get("image_processor_type", settings.get("feature_extractor_type"))
    if kind not in _TYPES:
        raise NativeError(
            f"{place}: cannot preprocess images as {kind!r} does",
            code="RUN214",
            why=f"the native runtime implements {_TYPES[0]}",
        )
    try:
        return _parse(settings)
    except (ValueError, TypeError, KeyError) as error:
        raise NativeError(f"{place}: {error}", code="RUN214") from error


def _parse(settings: dict[str, Any]) -> ClipPreprocessing:
    if settings.get("do_pad"):
        raise ValueError("do_pad is not supported")
    flags = ("do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize")
    known: dict[str, Any] = {
        name: settings[name]
        for name in (*flags, "resample", "rescale_factor")
        if settings.get(name) is not None
    }
    for name in ("image_mean", "image_std"):
        if settings.get(name) is not None:
            known[name] = tuple(settings[name])
    size = settings.get("size")
    if isinstance(size, int):
        known["shortest_edge"] = size
    elif isinstance(size, dict):
        set_keys = {key for key, value in size.items() if value is not None}
        if set_keys == {"shortest_edge"}:
            known["shortest_edge"] = int(size["shortest_edge"])
        elif set_keys == {"height", "width"}:
            known["shortest_edge"] = None
            known["size"] = (int(size["height"]), int(size["width"]))
        else:
            raise ValueError(f"size {size} is not supported")
    crop = settings.get("crop_size")
    if isinstance(crop, int):
        known["crop_size"] = (crop, crop)
    elif isinstance(crop, dict):
        known["crop_size"] = (int(crop["height"]), int(crop["width"]))
    return ClipPreprocessing(**known)


def _to_rgb(image: Any) -> Any:
    """Return an RGB image; what is transparent becomes white, as in transformers."""
    from PIL import Image

    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    background = Image.new("RGBA", with_alpha.size, _OPAQUE_WHITE)
    return Image.alpha_composite(background, with_alpha).convert("RGB")


def _center_crop(planes: Any, crop: tuple[int, int]) -> Any:
    """Cut ``[C, H, W]`` to its middle, with zeros around an image that is smaller."""
    import numpy as np

    sides = planes.shape[1:]
    if any(side < wanted for side, wanted in zip(sides, crop)):
        # transformers pads first and cuts the padded image; the two round differently.
        full = tuple(max(side, wanted) for side, wanted in zip(sides, crop))
        before = tuple(ceil((whole - side) / 2) for whole, side in zip(full, sides))
        padded = np.zeros((planes.shape[0], *full), dtype=planes.dtype)
        padded[:, before[0] : before[0] + sides[0], before[1] : before[1] + sides[1]] = planes
        starts = [(side - wanted) // 2 + pad for side, wanted, pad in zip(sides, crop, before)]
        planes = padded
    else:
        starts = [(side - wanted) // 2 for side, wanted in zip(sides, crop)]
    top, left = (max(start, 0) for start in starts)
    bottom, right = (start + wanted for start, wanted in zip(starts, crop))
    return planes[:, top:bottom, left:right]
