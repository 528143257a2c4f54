"""What ``run.py`` is asked: pictures, videos, sounds and texts, paired as each family pairs them.

Source: TensorRT-LLM 1.2, ``load_test_data`` and ``setup_inputs`` of ``MultimodalModelRunner``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmtrt.fake import features, log, pictures
from mmtrt.fake.engines import Engines
from mmtrt.fake.failure import ToolFailure, require
from mmtrt.fake.parser import Flags

FIXED_SAMPLE = ("nougat", "fuyu", "internlm-xcomposer2")
"""Families that ignore ``--image_path`` and fetch their own sample."""
FIRST_ONLY = ("llava_next", "llava_onevision", "mllama")
"""Families that look at the first picture only."""
LISTS = ("llava", "vila", "qwen2_vl")
"""Families that use every text; the others use the first."""
SAMPLE_VIDEO = "llava-onevision-accuracy"
DEFAULT_TEXTS = {
    "vila": "<image>\n Please elaborate what you see in the images?",
    "kosmos-2": "<grounding>An image of",
    "qwen2_vl": "Question: Describe this image. Answer:",
    "pix2struct": "",
}
DEFAULT_TEXT = "Question: which city is this? Answer:"
DEFAULT_FRAMES = 8


@dataclass(frozen=True)
class Request:
    """One call of the runner."""

    shown: list[str] | str
    """What ``[Q]`` prints."""
    texts: list[str]
    """One text per request of the batch."""
    costs: list[features.Cost]
    """One per request of the batch."""
    items: int
    """Of the vision engine's batch axis, all together."""
    is_sample: bool
    """Whether only the tool's own sample is looked at."""
    key: tuple[object, ...]
    """Everything of the inputs that an answer depends on."""


def prepare(
    engines: Engines, flags: Flags, texts: list[str] | str | None, images: list[str] | None
) -> Request:
    """Read the inputs and pair them.

    Raises:
        ToolFailure: for files that are missing and lists that do not fit.
    """
    kind, batch = engines.model_type, flags.number("--batch_size")
    sizes = _sizes(kind, flags, images, batch, features.sample_size(engines.family))
    audio = _audio(kind, flags)
    frames = _frames(kind, engines, flags)
    if isinstance(texts, list) and kind not in LISTS:
        texts = texts[0]
    per_request = _pairs(kind, texts, sizes, batch)
    if frames is not None:
        per_request = [[] for _ in range(batch)]
    costs = [
        features.request(engines.family, engines.facts, group, frames, audio)
        for group in per_request
    ]
    default = DEFAULT_TEXTS.get(kind, DEFAULT_TEXT)
    shown = default if texts is None else texts
    if texts is None and kind == "qwen2_vl":
        shown = [default] * batch
    return Request(
        shown=shown,
        texts=[shown] * batch if isinstance(shown, str) else shown[:batch],
        costs=costs,
        items=_items(kind, costs),
        is_sample=(not images or kind in FIXED_SAMPLE) and frames is None,
        key=(texts, sizes, frames, audio, batch),
    )


def _sizes(
    kind: str, flags: Flags, images: list[str] | None, batch: int, sample: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return (height, width) of every picture."""
    if kind == "video-neva" or (kind == "llava_onevision" and flags.has("--video_path")):
        return []
    if kind in FIXED_SAMPLE:
        return [sample]
    if images is None:
        if kind == "mllama":
            log.warning(
                "image_path is None. Will not pass image as input, skipping the vision encoder."
            )
            return []
        return [sample] * (min(batch, 8) if kind in ("llava", "vila") else 1)
    if kind == "internvl":
        raise ToolFailure("AttributeError", "'list' object has no attribute 'read'")
    return [_size(path, kind, sample) for path in images]


def _size(path: str, kind: str, sample: tuple[int, int]) -> tuple[int, int]:
    """Return the size of one picture; of one in the network the sample's."""
    if not path.startswith("http") or kind == "qwen2_vl":
        return pictures.size(path)
    log.info(f"downloading image from url {path}")
    if "," in path:
        # One word is one address: there is no such page.
        raise ToolFailure(
            "PIL.UnidentifiedImageError", "cannot identify image file <_io.BytesIO object>"
        )
    return sample


def _audio(kind: str, flags: Flags) -> float | None:
    if kind != "phi-4-multimodal":
        return None
    path = flags.text("--audio_path")
    require(path is not None, "AssertionError", "phi-4-multimodal needs --audio_path")
    return pictures.wav_seconds(str(path))


def _frames(kind: str, engines: Engines, flags: Flags) -> int | None:
    """Return the frames of the video, if one is shown."""
    path = flags.text("--video_path")
    if kind == "video-neva":
        if path is None:
            raise ToolFailure(
                "AttributeError", "'MultimodalModelRunner' object has no attribute 'video_path'"
            )
        require(Path(path).is_file(), "RuntimeError", f"Error reading {path}...")
        return int(engines.facts["num_frames"])
    if kind != "llava_onevision" or path is None:
        return None
    if path != SAMPLE_VIDEO and not Path(path).is_file():
        raise ToolFailure(
            "av.error.FileNotFoundError", f"[Errno 2] No such file or directory: '{path}'"
        )
    return flags.count("--video_num_frames") or DEFAULT_FRAMES


def _pairs(
    kind: str,
    texts: list[str] | str | None,
    sizes: list[tuple[int, int]],
    batch: int,
) -> list[list[tuple[int, int]]]:
    """Return the pictures of each request of the batch."""
    given, shown = (len(texts) if isinstance(texts, list) else None), len(sizes)
    if kind == "qwen2_vl":
        if shown < batch or (given is not None and given < batch):
            raise ToolFailure("IndexError", "list index out of range")
        return [[size] for size in sizes[:batch]]
    if kind == "vila":
        return _vila_pairs(texts, sizes, batch)
    if kind == "llava":
        if given is not None and given != batch:
            raise ToolFailure(
                "RuntimeError",
                "Sizes of tensors must match except in dimension 1. Expected size "
                f"{batch} but got size {given} for tensor number 2 in the list.",
            )
        if shown not in (1, batch):
            raise ToolFailure(
                "RuntimeError",
                f"The expanded size of the tensor ({batch}) must match the existing size "
                f"({shown}) at non-singleton dimension 0.",
            )
        return [[size] for size in (sizes if shown == batch else sizes * batch)]
    if shown > 1 and kind not in FIRST_ONLY:
        raise ToolFailure("TypeError", "pic should be PIL Image or ndarray. Got <class 'list'>")
    if kind == "internvl" and batch > 1:
        raise ToolFailure(
            "RuntimeError",
            "Sizes of tensors must match except in dimension 1. Expected size "
            f"{batch} but got size 1 for tensor number 1 in the list.",
        )
    return [sizes[:1] for _ in range(batch)]


def _vila_pairs(
    texts: list[str] | str | None, sizes: list[tuple[int, int]], batch: int
) -> list[list[tuple[int, int]]]:
    """Pair as VILA does: many pictures in one prompt, or one picture for each prompt."""
    given, shown = (len(texts) if isinstance(texts, list) else batch), len(sizes)
    if batch == 1 and given == 1:
        text = texts[0] if isinstance(texts, list) else texts
        pieces = ("<image>" + (text or DEFAULT_TEXTS["vila"])).count("<image>")
        require(
            shown <= pieces,
            "AssertionError",
            "Unexpected number of visual features. Please check #<image> in prompt and the #image "
            "files.",
        )
        return [sizes]
    if not given == shown == batch:
        raise ToolFailure(
            "IndexError", f"{given} prompts and {shown} images for a batch of {batch}"
        )
    return [[size] for size in sizes]


def _items(kind: str, costs: list[features.Cost]) -> int:
    """Return what the vision engine sees at once."""
    if kind in ("kosmos-2", "internvl", "video-neva"):
        return costs[0].items
    return sum(cost.items for cost in costs)
