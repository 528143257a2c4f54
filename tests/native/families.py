"""Every tiny family: its checkpoint, its engines, and what transformers says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

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
    several: bool = True
    """Whether a request may have two pictures."""
    text_only: bool = True
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
        Case("llava_next"),
        Case("qwen2_vl"),
        Case("llava_onevision"),
        Case("internvl2"),
        Case("gemma3"),
        Case("kosmos2", several=False, text_only=False),
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

    def __init__(self, case: Case, directory: Path) -> None:
        from mmtrt.native.make_tiny import make_tiny

        self.case, self.model_dir = case, directory / "model"
        self.checkpoint, self.engines = directory / "checkpoint", directory / "engines"
        self.pictures = [
            str(make_image(directory / f"{seed}.png", seed=seed, size=size))
            for seed, size in enumerate(case.sizes)
        ]
        make_tiny(case.model, self.model_dir, 0)
        started = perf_counter()
        self._build()
        self.build_s = perf_counter() - started

    def _build(self) -> None:
        from mmtrt.native.build_llm import build_llm
        from mmtrt.native.build_vision import build_vision
        from mmtrt.native.convert import convert
        from mmtrt.native.limits import LlmLimits

        case, engine = self.case, "onnxruntime"
        convert(self.model_dir, self.checkpoint, "auto")
        limits = LlmLimits(
            max_batch_size=MAX_BATCH,
            max_input_len=case.max_input_len,
            max_seq_len=case.max_input_len + NEW_TOKENS,
            max_num_tokens=MAX_BATCH * case.max_input_len,
            max_multimodal_len=MAX_BATCH * case.features,
            max_encoder_input_len=case.features,
        )
        for part in sorted(path.name for path in self.checkpoint.iterdir()):
            source = self.checkpoint / part
            if part == "vision":
                build_vision(
                    source,
                    self.engines / part,
                    engine=engine,
                    max_batch_size=MAX_BATCH * case.tiles,
                )
            else:
                place = "llm" if part == "llm" else f"llm/{part}"
                build_llm(source, self.engines / place, engine=engine, limits=limits)

    @cached_property
    def session(self) -> Any:
        from mmtrt.native.multimodal_session import MultimodalSession

        return MultimodalSession(self.engines, self.model_dir)

    @cached_property
    def hf(self) -> Any:
        """The model as transformers loads it from the same directory."""
        import transformers

        from mmtrt.native.families import family_of
        from mmtrt.native.hf_model import read_config

        family: Any = family_of(read_config(self.model_dir)["model_type"])
        return getattr(transformers, family.model_class).from_pretrained(self.model_dir).eval()

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
        processor = self.session.frontend.processor
        if self.case.padded_here:
            singles = [self.session.frontend.process(*pair) for pair in zip(prompts, images)]
            return {name: joined_left(name, singles) for name in singles[0]}
        if not self.case.several:
            shown = {"images": [image for each in images for image in each]}
        else:
            shown = {"images": [list(each) for each in images]} if images[0] else {}
        return processor(text=list(prompts), return_tensors="pt", padding=True, **shown)
