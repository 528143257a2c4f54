"""Texts and pictures through a model's own processor of transformers: what most families share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError, in_one_line
from mmtrt.native.frontend import Engines, Prepared, Start, address_rows, check_placeholders
from mmtrt.native.hf_processor import load_processor


class ChatPrompt(str):
    """A text that a chat template made, beside those that a user or this package wrote.

    Where it begins with the tokenizer's BOS, no special tokens are added to it; to any other text
    they are: what ``apply_chat_template(tokenize=True)`` and a plain call of a processor do.

    Source: transformers 5.23, ProcessorMixin.apply_chat_template.
    """

    __slots__ = ()


class HfFrontend:
    """Base of a family's frontend; a family says how its tensors are gathered."""

    processor_class: ClassVar[str | None]
    """Its name in transformers; ``None`` where the family prepares pictures itself."""
    placeholder: ClassVar[str] = "<image>"
    """What stands for one image in a prompt; empty where the processor puts images in its place."""
    template: ClassVar[str] = "{images}{text}"
    """Prompt of a model without a chat template of its own."""
    picture: ClassVar[str] = "<image>\n"
    """One image in ``template``: its placeholder and what stands around it."""
    max_images: ClassVar[int | None] = None
    """Most images of one request; ``None`` where the model takes any number."""

    def __init__(self, config: Any, model_dir: Path, llm: EngineConfig) -> None:
        """Take the model's configuration, its directory and its engine's configuration."""
        self.config = config
        self.model_dir = model_dir
        self.llm = llm

    @cached_property
    def processor(self) -> Any:
        """The processor, loaded when it is first needed."""
        return load_processor(self.model_dir, self.processor_class)

    @property
    def marks(self) -> Mapping[str, tuple[str, str]]:
        """What a request may show -> its placeholder, and what stands for it in ``template``."""
        return {"image": (self.placeholder, self.picture)}

    def prompt(self, text: str, images: int) -> str:
        """See ``Frontend.prompt``; the model's chat template is used where it has one."""
        if self.max_images is not None and images > self.max_images:
            raise NativeError(
                f"a request has {images} images, this model takes {self.max_images}", code="RUN212"
            )
        return self.written(text, ["image"] * images)

    def written(self, text: str, shown: Sequence[str]) -> str:
        """Return the prompt of a request that shows so many images, videos or sounds, in order.

        Raises:
            NativeError: RUN212, if it holds other placeholders than those; RUN214, if the model's
                chat template cannot be used.
        """
        marks = {kind: mark for kind, (mark, _) in self.marks.items() if mark}
        if any(mark in text for mark in marks.values()):
            prompt = text
        elif getattr(self.processor, "chat_template", None):
            prompt = self._rendered(text, shown)
        else:
            prompt = self.template.format(images=self._in_text(shown), text=text)
        for kind, mark in marks.items():
            check_placeholders(prompt, mark, shown.count(kind), kind)
        return prompt

    def _in_text(self, shown: Sequence[str]) -> str:
        return "".join(self.marks[kind][1] for kind in shown if self.marks[kind][0])

    def _rendered(self, text: str, shown: Sequence[str]) -> ChatPrompt:
        """Fill the chat template; one that was written for a language model takes texts alone."""
        parts = [*({"type": kind} for kind in shown), {"type": "text", "text": text}]
        content = parts if self._template_takes_parts else self._in_text(shown) + text
        try:
            return ChatPrompt(self._filled(content))
        except Exception as error:  # templates raise what they like, jinja2 its own
            raise NativeError(
                f"{self.model_dir}: its chat template fails: " + in_one_line(error),
                code="RUN214",
                fix="write the whole prompt yourself, with the model's placeholders",
            ) from error

    @property
    def chats_by_itself(self) -> bool:
        """Whether transformers' processor makes a whole request out of a conversation."""
        has_template = bool(getattr(self.processor, "chat_template", None))
        return has_template and self.processor_class is not None and self._template_takes_parts

    @cached_property
    def _template_takes_parts(self) -> bool:
        """Whether the template goes through a list of parts, instead of writing it out as it is."""
        try:
            return "'type'" not in self._filled([{"type": "text", "text": "text"}])
        except Exception:  # noqa: BLE001 - as above; what joins strings fails with a list
            return False

    def _filled(self, content: Any) -> str:
        return str(
            self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
        )

    def text_settings(self, prompt: str) -> dict[str, bool]:
        """Return what a processor or tokenizer must be told to read a prompt as transformers does.

        See :class:`ChatPrompt`.
        """
        bos = self.processor.tokenizer.bos_token
        has_bos = isinstance(prompt, ChatPrompt) and bos is not None and prompt.startswith(bos)
        return {"add_special_tokens": False} if has_bos else {}

    def prepare(self, prompts: Sequence[str], pictures: Sequence[Sequence[Any]]) -> Prepared:
        """See ``Frontend.prepare``: each request goes through the processor alone, unpadded."""
        singles = [self.process(*pair) for pair in zip(prompts, pictures)]
        return self.gathered(singles, [*map(len, pictures)])

    def gathered(self, singles: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> Prepared:
        """Return the batch of single requests that show so many pictures, or videos, each."""
        addressed: list[list[int]] = []
        row = 0
        for single in singles:
            addressed.append(self.address(single, row))
            row += sum(id_ >= self.llm.vocab_size for id_ in addressed[-1])
        shown = [single for single, count in zip(singles, counts) if count]
        if not shown:
            return Prepared(prompts=addressed, notes={"singles": singles})
        pixels = self.pixels(shown)
        return Prepared(
            prompts=addressed,
            pixels=pixels,
            vision_items=self.items(pixels, sum(counts)),
            notes={"singles": singles, "shown": shown},
        )

    def process(self, prompt: str, images: Sequence[Any]) -> dict[str, Any]:
        """Return the processor's numpy arrays for one request."""
        # Nested lists: some processors treat one of several pictures of a request otherwise.
        given = {"images": [list(images)]} if images else {}
        return self.read(text=[prompt], **given, **self.text_settings(prompt))

    def read(self, **given: Any) -> dict[str, Any]:
        """Call the processor and return its numpy arrays.

        Raises:
            NativeError: RUN216, if it refuses what it is given.
        """
        try:
            return dict(self.processor(**{"return_tensors": "np", **given}))
        except Exception as error:  # processors and their files may fail in any way
            raise NativeError(
                f"{type(self.processor).__name__} refuses the request: " + in_one_line(error, 300),
                code="RUN216",
            ) from error

    def address(self, single: Mapping[str, Any], first_row: int) -> list[int]:
        """Return the ids of one request with rows of the prompt table in their places."""
        ids = [int(id_) for id_ in single["input_ids"][0]]
        return address_rows(ids, self.row_token(single), first_row, self.llm.vocab_size)

    def row_token(self, single: Mapping[str, Any]) -> int | None:
        """Return the token of one request that stands for a row of the prompt table."""
        return self.llm.special_tokens.image

    def pixels(self, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the vision engine's inputs for the requests that show something."""
        return {"pixels": joined(shown, "pixel_values")}

    def items(self, pixels: Mapping[str, Any], pictures: int) -> int:
        """Return what counts against ``vision.max_batch_size``."""
        return len(pixels["pixels"])

    def start(
        self, prepared: Prepared, features: Mapping[str, Any] | None, engines: Engines
    ) -> Start:
        """See ``Frontend.start``."""
        table = None if features is None else self.table(prepared, features)
        if table is not None:
            self.check_rows(prepared, len(table))
        return Start(prompts=prepared.prompts, table=table)

    def check_rows(self, prepared: Prepared, given: int) -> None:
        """Refuse a processor that counts on other features than the engines give.

        Raises:
            NativeError: RUN214.
        """
        asked = sum(id_ >= self.llm.vocab_size for ids in prepared.prompts for id_ in ids)
        if asked != given:
            raise NativeError(
                f"the processor makes place for {asked} visual features, the engines give {given}",
                code="RUN214",
                why="its files and config.json describe different models",
                fix="give --model-dir the model that the engines were built from",
            )

    def table(self, prepared: Prepared, features: Mapping[str, Any]) -> Any:
        """Return the prompt table, float32 ``[P, H]``, in the order of the addressed rows."""
        return features["features"].reshape(-1, self.llm.hidden_size)

    def decode(self, ids: list[int]) -> str:
        """See ``Frontend.decode``."""
        return str(self.processor.batch_decode([ids], skip_special_tokens=True)[0]).strip()


def joined(singles: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the arrays of all requests one after the other, float32 where they are floats."""
    import numpy as np

    whole = np.concatenate([np.asarray(single[name]) for single in singles])
    return np.ascontiguousarray(whole, np.float32) if whole.dtype.kind == "f" else whole
