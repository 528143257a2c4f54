"""Open the image files of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError

_PLAIN = ("RGB", "RGBA", "L", "LA", "P")
_SIXTEEN = ("PNG", "PPM")
"""Formats whose integers end at 65535 in Pillow."""
_MOST = 65535


def open_image(path: str) -> Any:
    """Return a PIL image, turned upright if its EXIF data say so.

    Raises:
        NativeError: RUN213, if it is a URL, is missing, or is not an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if "://" in path:
        raise NativeError(
            f"{path}: the native runtime reads local images only",
            code="RUN213",
            fix="download it first",
        )
    if not Path(path).is_file():
        raise NativeError(f"{path}: no such image", code="RUN213", fix="check --image-path")
    try:
        image = Image.open(path)
        image.load()
        return _of_eight_bits(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise _unread(path, "no format that Pillow knows") from error
    except NativeError:
        raise
    except Exception as error:  # damaged files make Pillow's readers fail in any way
        raise _unread(path, error) from error


def _unread(path: str, why: object) -> NativeError:
    return NativeError(f"{path}: not an image that can be read: {why}", code="RUN213")


def _of_eight_bits(image: Any) -> Any:
    """Return an image of 8 bits a value, in a mode that every processor converts.

    Pillow's own conversion cuts off what is above 255.

    Raises:
        ValueError: for values whose range the file does not tell.
    """
    import numpy as np
    from PIL import Image

    if image.mode in _PLAIN:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + _MOST // 2) // _MOST).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its values (mode {image.mode}) have no known range; save it with 8 bits a channel"
        )
    premultiplied = {"La": "LA", "RGBa": "RGBA"}
    if image.mode in premultiplied:
        return image.convert(premultiplied[image.mode])
    return image.convert("RGB")
