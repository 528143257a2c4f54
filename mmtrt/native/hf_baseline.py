"""Answers of the original model by transformers, on the CPU: what engines are compared with.

One request at a time, so that nothing is padded. Greedy and in float32, as the engines compute;
settings of sampling that a model's files bring are overruled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError, in_one_line
from mmtrt.native.families.hf_frontend import HfFrontend
from mmtrt.native.frontend import Frontend
from mmtrt.native.hf_model import read_config


class HfBaseline:
    """One model as transformers loads it."""

    def __init__(self, model_dir: Path, frontend: Frontend) -> None:
        """Load the model.

        Args:
            model_dir: of the kind that the engines were built from.
            frontend: the family's; its processor is that of transformers.

        Raises:
            NativeError: MDL211 if transformers cannot load the model; RUN214 for its processor.
        """
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        names = read_config(model_dir).get("architectures") or [""]
        model_class = getattr(transformers, str(names[0]), None)
        if model_class is None:
            raise NativeError(
                f"transformers has no class {names[0]!r}",
                code="MDL211",
                why="config.json names it among its architectures",
                fix="eval.test_hf=false",
            )
        try:
            self._model = model_class.from_pretrained(model_dir, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            raise NativeError(
                f"transformers cannot load {model_dir}: " + in_one_line(error),
                code="MDL211",
                fix="eval.test_hf=false",
            ) from error
        assert isinstance(frontend, HfFrontend)
        self._frontend = frontend

    def answer(self, text: str, images: Sequence[Any], max_new_tokens: int) -> list[int]:
        """Return the new tokens of one request, the one that ends the answer included.

        Args:
            text: the question.
            images: PIL images.
            max_new_tokens: most tokens.
        """
        import torch

        given = {name: torch.as_tensor(value) for name, value in self._read(text, images).items()}
        with torch.inference_mode():
            said = self._model.generate(
                **given,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                output_scores=True,
                return_dict_in_generate=True,
            )
        # Some models return the prompt too, in front.
        tokens: list[int] = said.sequences[0, -len(said.scores) :].tolist()
        return tokens

    def _read(self, text: str, images: Sequence[Any]) -> Mapping[str, Any]:
        """Return what transformers' own chat makes of a question, where the model has one.

        A model without a chat template has only the prompt that its card documents.
        """
        frontend = self._frontend
        if not frontend.chats_by_itself:
            return frontend.process(frontend.prompt(text, len(images)), images)
        shown = [{"type": "image", "image": image} for image in images]
        found: Mapping[str, Any] = frontend.processor.apply_chat_template(
            [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="np",
        )
        return found
