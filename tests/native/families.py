"""Every tiny family: its checkpoint, its engines, and what transformers says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from tests.native.layouts import LAYOUTS, publish
from tests.native.tiny_llava import make_image

NEW_TOKENS = 8
MAX_BATCH = 3
TEXTS = (
    "what colour is it?",
    "is there a circle on the left, and is its background white?",
    "name the shape.",
)
SIZES = ((40, 31), (90, 30), (24, 70))
"""(width, height) of the pictures of a batch."""
SEEN = ((40, 31), (90, 30), (24, 70), (64, 64), (25, 24), (100, 100), (333, 500), (900, 41))


@dataclass(frozen=True)
class Case:
    """What the suite must know of a family beyond its name."""

    model: str
    """Name of the tiny model."""
    max_input_len: int = 256
    features: int = 128
    """Rows of the prompt table, or attended to across, that one request may use."""
    tiles: int = 16
    """``vision.max_batch_size`` of one request."""
    recipe: str | None = None
    """The recipe's name, where it is another than the model's."""
    variant: str = "tiny"
    asset: str | None = None
    """Where the model ships; all others are made."""
    several: bool = True
    """Whether a request may have two pictures."""
    text_only: bool = True
    padding_shows: bool = False
    """Whether transformers itself answers otherwise where a prompt is padded."""
    padded_here: bool = False
    """Whether the reference's batch is put together here: from the inputs of single requests."""
    sizes: Sequence[tuple[int, int]] = SIZES
    seen: Sequence[tuple[int, int]] = SEEN
    """Sizes for which the planner's arithmetic is compared with what is inserted."""
    texts: Sequence[str] = TEXTS
    flags: dict[str, Any] = field(default_factory=dict)


CASES = {
    case.model: case
    for case in (
        Case("llava", asset="asset://llava_tiny"),
        Case("llava_next"),
        Case("qwen2_vl"),
        Case("qwen2_5_vl", recipe="qwen2_vl", variant="tiny_2_5"),
        Case("llava_onevision"),
        Case("internvl2"),
        Case("gemma3"),
        Case("kosmos2", several=False, text_only=False, padding_shows=True),
        Case("fuyu", several=False, text_only=False),
        Case("blip2", several=False, text_only=False, padded_here=True),
        # Its processor pads between picture and text, which T5's relative positions see.
        Case(
            "blip2_t5",
            recipe="blip2",
            variant="tiny_t5",
            several=False,
            text_only=False,
            padded_here=True,
        ),
        Case("deplot", several=False, text_only=False, padded_here=True),
        Case("nougat", several=False, text_only=False, padded_here=True),
        Case("mllama", features=2 * 4 * 17),
        Case(
            "phi4_multimodal",
            max_input_len=1600,
            features=1500,
            padded_here=True,
            # Two crops each: the reference's batch is joined without padding.
            sizes=((500, 300), (600, 200), (460, 90)),
            seen=((40, 31), (500, 300), (448, 448), (449, 1000), (1400, 60)),
        ),
    )
}


def joined_left(name: str, singles: Sequence[dict[str, Any]]) -> Any:
    """Return one tensor of a batch; ids and masks of tokens are padded at the left with zeros."""
    import torch
    from torch.nn.functional import pad

    tensors = [torch.as_tensor(single[name]) for single in singles]
    if tensors[0].ndim == 2 and name in ("input_ids", "attention_mask"):
        longest = max(tensor.shape[1] for tensor in tensors)
        tensors = [pad(tensor, (longest - tensor.shape[1], 0)) for tensor in tensors]
    return torch.cat(tensors)


class Built:
    """One family's model directory and engines."""

    def __init__(
        self, case: Case, directory: Path, engine: str = "onnxruntime", *, published: bool = False
    ) -> None:
        from mmtrt.config.root import asset
        from mmtrt.native.make_tiny import make_tiny

        self.case, self.model_dir, self.engine = case, directory / "model", engine
        self.directory = directory
        self.checkpoint, self.engines = directory / "checkpoint", directory / "engines"
        self.pictures = [
            str(make_image(directory / f"{seed}.png", seed=seed, size=size))
            for seed, size in enumerate(case.sizes)
        ]
        if case.asset is not None:
            self.model_dir.symlink_to(asset(case.asset))
        else:
            make_tiny(case.model, self.model_dir, 0)
        if published and case.model in LAYOUTS:
            tiny, self.model_dir = self.model_dir, directory / "published"
            publish(tiny, self.model_dir, case.model)
        started = perf_counter()
        self._build()
        self.build_s = perf_counter() - started

    def _build(self) -> None:
        from mmtrt.native import build_vision, convert

        self.stage(convert, "--model-dir", self.model_dir, "--output-dir", self.checkpoint)
        parts = sorted(path.name for path in self.checkpoint.iterdir())
        for part in parts:
            place = part if part in ("llm", "vision") else f"llm/{part}"
            where = (self.checkpoint / part, self.engines / place)
            if part == "vision":
                count = MAX_BATCH * self.case.tiles
                flags = ("--checkpoint-dir", where[0], "--output-dir", where[1])
                self.stage(build_vision, *flags, "--max-batch-size", count)
            else:
                self.build_llm(*where)

    def build_llm(self, checkpoint: Path, output: Path) -> None:
        """Build a part of the language model for this engine format."""
        from mmtrt.native import build_llm

        length = self.case.max_input_len
        flags: list[object] = ["--checkpoint-dir", checkpoint, "--output-dir", output]
        for name, value in (
            ("batch-size", MAX_BATCH),
            ("input-len", length),
            ("seq-len", length + NEW_TOKENS),
            ("num-tokens", MAX_BATCH * length),
            ("multimodal-len", MAX_BATCH * self.case.features),
            ("encoder-input-len", self.case.features),
        ):
            flags += [f"--max-{name}", value]
        if self.engine == "aot_inductor":
            flags += ["--engine", self.engine, "--device", "cpu", "--dtype", "float32"]
        self.stage(build_llm, *flags)

    @staticmethod
    def stage(module: Any, *flags: object) -> None:
        """Run a stage in this process; what it refuses is no failure of the suite."""
        told = StringIO()
        with redirect_stderr(told):
            status = module.main([str(flag) for flag in flags])
        if status == 2 and (found := re.search(r"error\[(\w+)\]: (.*)", told.getvalue())):
            pytest.skip(f"refused {found[1]}: {found[2]}")
        assert status == 0, told.getvalue()

    @cached_property
    def session(self) -> Any:
        from mmtrt.native.multimodal_session import MultimodalSession

        return MultimodalSession(self.engines, self.model_dir)

    @cached_property
    def hf(self) -> Any:
        """The model as transformers loads it from the same directory."""
        import transformers

        from mmtrt.native.hf_model import read_config

        (name,) = read_config(self.model_dir)["architectures"]
        return getattr(transformers, name).from_pretrained(self.model_dir, dtype="float32").eval()

    @cached_property
    def processor(self) -> Any:
        """The processor of transformers, which one family's frontend does without."""
        from mmtrt.native.hf_processor import load_processor

        if self.case.asset is not None:
            return load_processor(self.model_dir, "LlavaProcessor")
        return self.session.frontend.processor

    def answer(self, texts: Sequence[str], pictures: Sequence[Sequence[str]]) -> Any:
        return self.session.answer(texts, pictures, max_new_tokens=NEW_TOKENS, keep_logits=True)

    def expected(self, texts: Sequence[str], pictures: Sequence[Sequence[str]]) -> Any:
        """Generate greedily with transformers: new tokens and logits ``[steps, B, V]``."""
        import torch
        from PIL import Image

        session = self.session
        prompts = [session.frontend.prompt(*pair) for pair in zip(texts, map(len, pictures))]
        images = [[Image.open(path) for path in paths] for paths in pictures]
        inputs = self.inputs(prompts, images)
        with torch.no_grad():
            output = self.hf.generate(
                **inputs,
                **self.case.flags,
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits = torch.stack(output.logits).numpy()
        return output.sequences[:, -len(logits) :].tolist(), logits

    def inputs(self, prompts: Sequence[str], images: Sequence[Sequence[Any]]) -> Any:
        """Return the processor's batch, padded at the left."""
        if self.case.padded_here:
            singles = [self.session.frontend.process(*pair) for pair in zip(prompts, images)]
            return {name: joined_left(name, singles) for name in singles[0]}
        if not self.case.several:
            shown = {"images": [image for each in images for image in each]}
        else:
            shown = {"images": [list(each) for each in images]} if images[0] else {}
        return self.processor(text=list(prompts), return_tensors="pt", padding=True, **shown)
