"""Answers of the original model by transformers, on the CPU: what engines are compared with.

One request at a time, so that nothing is padded. Greedy and in float32, as the engines compute;
settings of sampling that a model's files bring are overruled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.errors import NativeError
from mmtrt.native.frontend import Frontend
from mmtrt.native.hf_model import read_config
from mmtrt.native.hf_processor import load_processor


class HfBaseline:
    """One model as transformers loads it."""

    def __init__(self, model_dir: Path, frontend: Frontend) -> None:
        """Load the model.

        Args:
            model_dir: of the kind that the engines were built from.
            frontend: the family's; its processor is transformers' own where it has one.

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
                f"transformers cannot load {model_dir}: " + " ".join(str(error).split())[:200],
                code="MDL211",
                fix="eval.test_hf=false",
            ) from error
        self._process = getattr(frontend, "process", None) or self._plain(model_dir)

    def answer(self, prompt: str, images: Sequence[Any], max_new_tokens: int) -> list[int]:
        """Return the new tokens of one request, the one that ends the answer included.

        Args:
            prompt: as ``Frontend.prompt`` returns it.
            images: PIL images.
            max_new_tokens: most tokens.
        """
        import torch

        given = {
            name: torch.as_tensor(value) for name, value in self._process(prompt, images).items()
        }
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

    def _plain(self, model_dir: Path) -> Any:
        """Return the processor of a family whose frontend does without transformers."""
        from transformers import AutoProcessor

        try:
            name = type(AutoProcessor.from_pretrained(model_dir)).__name__
        except (OSError, ValueError, ImportError) as error:
            raise NativeError(f"{model_dir}: no processor", code="RUN214") from error
        processor = load_processor(model_dir, name)

        def process(prompt: str, images: Sequence[Any]) -> dict[str, Any]:
            return dict(processor(text=[prompt], images=list(images), return_tensors="np"))

        return process
