"""Open the image files of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError


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
        return ImageOps.exif_transpose(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise NativeError(
            f"{path}: not an image that can be read: {error}", code="RUN213"
        ) from error
