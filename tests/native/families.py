"""Every tiny family: its checkpoint, its engines, and what transformers says of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import pytest

from tests.native.layouts import LAYOUTS, publish
from tests.native.published import dress
from tests.native.reference import Reference
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
        Case("blip2", several=False, text_only=False),
        Case(
            "blip2_t5",
            recipe="blip2",
            variant="tiny_t5",
            several=False,
            text_only=False,
        ),
        Case("deplot", several=False, text_only=False),
        Case("nougat", several=False, text_only=False),
        Case("mllama", features=2 * 4 * 17),
        Case(
            "phi4_multimodal",
            max_input_len=1600,
            features=1500,
            sizes=((500, 300), (600, 200), (460, 90)),
            seen=((40, 31), (500, 300), (448, 448), (449, 1000), (1400, 60)),
        ),
    )
}


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
        self.plain_dir = directory / "plain"
        if case.asset is not None:
            self.plain_dir.symlink_to(asset(case.asset))
        else:
            make_tiny(case.model, self.plain_dir, 0)
        shutil.copytree(self.plain_dir, self.model_dir)
        if case.asset is None:
            dress(self.model_dir, case.model)
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
    def reference(self) -> Reference:
        """The same directory, as transformers reads it."""
        return self.reference_of(self.model_dir)

    def reference_of(self, directory: Path) -> Reference:
        """Return a directory of this family, as transformers reads it."""
        found = Reference(directory)
        if self.case.model == "phi4_multimodal":
            found.inputs = partial(self._inputs_of_phi4, found)  # type: ignore[method-assign]
        return found

    def _inputs_of_phi4(
        self,
        reference: Reference,
        texts: Sequence[str],
        images: Sequence[Sequence[Any]],
        kinds: Sequence[str] | None = None,
        rows: Mapping[str, int] = MappingProxyType({}),
    ) -> Any:
        """Return one request's tensors; pixels are the port's: transformers needs torchvision."""
        from mmtrt.native.phi4_images import preprocess

        (text,), (shown,) = texts, images
        prompt, settings = reference.prompt(text, kinds or ["image"] * len(shown))
        pixels = preprocess(shown) if shown else {}
        first, *others = prompt.split("<|image|>")
        for count, other in zip(pixels.pop("num_img_tokens", ()), others):
            first += "<|image|>" * int(count) + other
        for kind, count in rows.items():
            first = first.replace(f"<|{kind}|>", f"<|{kind}|>" * count)
        ids = reference.processor.tokenizer([first], return_tensors="pt", **settings)
        return {**ids, **pixels}

    def answer(self, texts: Sequence[str], pictures: Sequence[Sequence[str]]) -> Any:
        return self.session.answer(texts, pictures, max_new_tokens=NEW_TOKENS, keep_logits=True)

    def expected(
        self, texts: Sequence[str], pictures: Sequence[Sequence[str]], **settings: Any
    ) -> tuple[list[list[int]], list[Any]]:
        """Return what transformers answers: new tokens, and logits ``[steps, V]``, by request."""
        from PIL import Image

        return self.reference.generate(
            texts,
            [[Image.open(path) for path in paths] for paths in pictures],
            together=settings.pop("together", self.case.padding_shows),
            new_tokens=NEW_TOKENS,
            **self.case.flags,
            **settings,
        )
