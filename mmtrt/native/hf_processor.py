"""A model's own processor of transformers, without the parts that cannot be had here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError


def image_only(class_name: str) -> Any:
    """Return a processor class of transformers without its video processor.

    Video processors need torchvision. transformers looks the parts of a processor up by its class,
    and refuses ``None`` for one of them.
    """
    import transformers

    complete = getattr(transformers, class_name)

    def parts(cls: Any) -> list[str]:
        return [name for name in complete.get_attributes() if "video" not in name]

    namespace = {
        "get_attributes": classmethod(parts),
        "__module__": complete.__module__,
        "__doc__": complete.__doc__,
    }
    return type(class_name, (complete,), namespace)


def load_processor(model_dir: Path, class_name: str) -> Any:
    """Return the processor of a model directory: tokenizer and image preprocessing.

    Prompts that are batched are padded at the left: files do not keep that setting.

    Raises:
        NativeError: RUN214, if the directory has no processor of this class.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    try:
        processor = image_only(class_name).from_pretrained(model_dir)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise NativeError(
            f"{model_dir}: not a directory of {class_name}: " + " ".join(str(error).split())[:300],
            code="RUN214",
            fix="give --model-dir the model's own directory, with its processor files",
        ) from error
    processor.tokenizer.padding_side = "left"
    return processor
