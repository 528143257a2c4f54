"""What transformers makes of a model directory: prompts, inputs, answers.

Nothing of this package is imported here: what is compared with it must not come from it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

DOCUMENTED = {
    "llava": ("<image>\n", "USER: {}{} ASSISTANT:"),
    "llava_next": ("<image>\n", "[INST] {}{} [/INST]"),
    "llava_onevision": ("<image>", "<|im_start|>user {}\n{}<|im_end|><|im_start|>assistant\n"),
    "qwen2_vl": (
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<|im_start|>user\n{}{}<|im_end|>\n<|im_start|>assistant\n",
    ),
    "internvl": ("<IMG_CONTEXT>\n", "<|im_start|>user\n{}{}<|im_end|>\n<|im_start|>assistant\n"),
    "gemma3": (
        "<start_of_image>",
        "<start_of_turn>user\n{}{}<end_of_turn>\n<start_of_turn>model\n",
    ),
    "mllama": ("<|image|>", "{}<|begin_of_text|>{}"),
    "phi4_multimodal": ("<|image|>", "<|user|>{}{}<|end|><|assistant|>"),
    "fuyu": ("", "{}{}\n"),
}
"""``model_type`` to a picture and the prompt in the model cards, for models without a template."""


class Reference:
    """A model directory, as transformers reads it."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoConfig

        self.directory = directory
        self.config = AutoConfig.from_pretrained(directory)
        self.processor = processor_of(directory, self.config)

    def prompt(self, text: str, kinds: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Return the text of a request that shows these, and how the processor must read it."""
        picture, documented = DOCUMENTED.get(
            self.config.model_type.replace("2_5", "2"), ("", "{}{}")
        )
        if self._is_whole(text):
            return text, {}
        if not self.processor.chat_template:
            return documented.format(picture * len(kinds), text), {}
        parts: Any = [*({"type": kind} for kind in kinds), {"type": "text", "text": text}]
        if self.config.model_type == "phi4_multimodal":
            parts = "".join(f"<|{kind}|>" for kind in kinds) + text
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True
        )
        # As ``apply_chat_template(tokenize=True)`` does; videos and sounds need it by hand.
        bos = self.processor.tokenizer.bos_token
        return prompt, {"add_special_tokens": False} if bos and prompt.startswith(bos) else {}

    def _is_whole(self, text: str) -> bool:
        """Whether a text is a prompt already: it says itself where its picture is."""
        named = (getattr(self.processor, name, None) for name in ("boi_token", "image_token"))
        mark = next((str(each) for each in named if each), "<|image|>")
        return mark in text

    def inputs(self, texts: Sequence[str], images: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """Return the tensors of a batch, padded at the left."""
        settings = {"return_tensors": "pt", **({"padding": True} if len(texts) > 1 else {})}
        if self.processor.chat_template and not any(map(self._is_whole, texts)):
            parts = [
                [
                    *({"type": "image", "image": each} for each in shown),
                    {"type": "text", "text": text},
                ]
                for text, shown in zip(texts, images)
            ]
            return dict(
                self.processor.apply_chat_template(
                    [[{"role": "user", "content": each}] for each in parts],
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    processor_kwargs=settings,
                )
            )
        kind = self.config.model_type
        flat = kind in ("blip-2", "kosmos-2", "fuyu", "pix2struct", "vision-encoder-decoder")
        pairs = zip(texts, images)
        given = {"text": [self.prompt(text, ["image"] * len(shown))[0] for text, shown in pairs]}
        if any(images):
            nested = [list(shown) for shown in images]
            given["images"] = [each for shown in nested for each in shown] if flat else nested
        if kind in ("pix2struct", "vision-encoder-decoder"):
            del given["text"]
        own = {
            "kosmos-2": lambda: {"num_image_tokens": self.config.latent_query_num},
            "pix2struct": lambda: {"max_patches": self.processor.image_processor.max_patches},
            "fuyu": lambda: {"return_legacy_image_output": False},
        }
        return dict(self.processor(**given, **settings, **own.get(kind, dict)()))

    @cached_property
    def model(self) -> Any:
        """The model with its weights, in float32."""
        import torch
        import transformers

        (name,) = self.config.architectures
        return getattr(transformers, name).from_pretrained(self.directory, dtype=torch.float32)

    def generate(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Any]],
        *,
        together: bool = False,
        new_tokens: int,
        **settings: Any,
    ) -> tuple[list[list[int]], list[Any]]:
        """Answer greedily, one request after the other or padded together.

        Returns:
            New tokens of each request, the one that ends it included, and their float32 logits
            ``[steps, V]``. All that is not stated is as the model's generation settings have it.
        """
        batches = [(texts, images)] if together else [([t], [i]) for t, i in zip(texts, images)]
        tokens, logits = [], []
        for batch in batches:
            found = self.generate_from(self.inputs(*batch), new_tokens=new_tokens, **settings)
            tokens += found[0]
            logits += found[1]
        return tokens, logits

    def generate_from(self, inputs: Any, **settings: Any) -> tuple[list[list[int]], list[Any]]:
        """Answer what was prepared already; see :meth:`generate`."""
        import torch

        with torch.no_grad():
            said = self.model.generate(
                **inputs,
                max_new_tokens=settings.pop("new_tokens"),
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                **settings,
            )
        steps = torch.stack(said.logits, dim=1).numpy()
        ends = settings.get("eos_token_id", self.model.generation_config.eos_token_id)
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        tokens = []
        for row in said.sequences[:, -steps.shape[1] :].tolist():
            end = next((place for place, each in enumerate(row) if each in ends), len(row) - 1)
            tokens.append(row[: end + 1])
        return tokens, [steps[row, : len(each)] for row, each in enumerate(tokens)]


def processor_of(directory: Path, config: Any) -> Any:
    """Return what ``AutoProcessor`` returns, but for parts that need torchvision."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    if config.model_type == "phi4_multimodal":
        return _TextProcessor(directory)
    stated = json.loads((directory / "processor_config.json").read_text()).get("processor_class")
    whole = getattr(transformers, stated or PROCESSOR_MAPPING_NAMES[config.model_type])

    class Processor(whole):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            takes = inspect.signature(whole.__init__).parameters
            return [name for name in takes if name in ("image_processor", "tokenizer")]

    made = Processor.from_pretrained(directory, backend="pil")
    if config.model_type == "fuyu":
        _mend_fuyu(made.image_processor)
    made.tokenizer.padding_side = "left"
    return made


class _TextProcessor:
    """Phi-4's without pictures: its image processor is there for torchvision alone."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.chat_template = self.tokenizer.chat_template

    def apply_chat_template(self, conversation: Any, **settings: Any) -> str:
        return str(self.tokenizer.apply_chat_template(conversation, tokenize=False, **settings))


def _mend_fuyu(images: Any) -> None:
    """Let patches be cut without torchvision: transformers 5.23 asks numpy for torch's methods."""
    import torch

    def patchify(image: Any, patch_size: Any) -> Any:
        side = (patch_size.height, patch_size.width)
        cut = torch.as_tensor(image)[0].unfold(1, side[0], side[0]).unfold(2, side[1], side[1])
        return cut.permute(1, 2, 3, 4, 0).reshape(1, cut.shape[1] * cut.shape[2], -1)

    images.patchify_image = patchify
