"""A model's own processor of transformers, without the parts that cannot be had here.

Pictures are always prepared by Pillow: by default transformers takes torchvision where it is
installed, whose pixels differ, and with them answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError, in_one_line

_HIDDEN = ("torch", "torchvision")
_leaves_torch_out = False


def leave_torch_out() -> None:
    """Let this process read configurations and processors without torch, unless it is there.

    transformers imports torch wherever it is installed, which takes longer than most requests.
    """
    global _leaves_torch_out
    _leaves_torch_out = True
    # It would say that it has not found torch.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@contextmanager
def without_torch() -> Iterator[None]:
    """Hide torch from what transformers imports meanwhile, if ``leave_torch_out`` was called."""
    if not _leaves_torch_out or "torch" in sys.modules:
        yield
        return
    # Python's own sign for a module that must not be found.
    sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in _HIDDEN:
            del sys.modules[name]


def image_only(class_name: str) -> Any:
    """Return a processor class of transformers with its tokenizer and image processor alone.

    Video processors need torchvision. transformers looks the parts of a processor up by its class,
    and refuses ``None`` for one of them.
    """
    import transformers

    complete = getattr(transformers, class_name)

    def parts(cls: Any) -> list[str]:
        return [name for name in complete.get_attributes() if "video" not in name]

    def tokenizer(cls: Any, *args: Any, **settings: Any) -> Any:
        # The backend is that of pictures; a tokenizer would keep it as a setting of its own.
        settings.pop("backend", None)
        return complete._load_tokenizer_from_pretrained.__func__(cls, *args, **settings)

    namespace = {
        "get_attributes": classmethod(parts),
        "_load_tokenizer_from_pretrained": classmethod(tokenizer),
        "__module__": complete.__module__,
        "__doc__": complete.__doc__,
    }
    return type(class_name, (complete,), namespace)


def _text_only() -> Any:
    """Return a class of processors with a tokenizer, and a chat template, alone."""
    from transformers import ProcessorMixin

    class TextProcessor(ProcessorMixin):
        """What of a processor has to do with texts."""

        def __init__(self, tokenizer: Any, chat_template: Any = None) -> None:
            super().__init__(tokenizer, chat_template=chat_template)

    return TextProcessor


def load_processor(model_dir: Path, class_name: str | None) -> Any:
    """Return the processor of a model directory: tokenizer and image preprocessing.

    Prompts that are batched are padded at the left: files do not keep that setting.

    Args:
        model_dir: the model's own directory.
        class_name: of its processor in transformers; ``None`` for one of texts alone.

    Raises:
        NativeError: RUN214, if the directory has no processor of this class.
    """
    with without_torch():
        try:
            import transformers

            transformers.logging.set_verbosity_error()
            if class_name is None:
                processor = _text_only().from_pretrained(model_dir)
            else:
                processor = image_only(class_name).from_pretrained(model_dir, backend="pil")
        except ModuleNotFoundError as error:
            raise NativeError(
                f"transformers cannot import {class_name}: {error.__cause__ or error}",
                code="RUN214",
                fix="install its packages again; torchvision may go: nothing here needs it",
            ) from error
        except Exception as error:  # damaged files make their readers fail in any way
            raise NativeError(
                f"{model_dir}: not a directory of {class_name or 'a tokenizer'}: "
                + in_one_line(error, 300),
                code="RUN214",
                fix="give --model-dir the model's own directory, with its processor files",
            ) from error
    processor.tokenizer.padding_side = "left"
    return processor
