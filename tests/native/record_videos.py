"""Record what transformers' own video processors give, for a machine that has torchvision.

    python -m tests.native.record_videos

torchvision is asked for by these classes alone, and its wheels belong to one build of torch each;
so the tests compare with the file that this writes: ``data/videos.npz``. Recorded with
transformers 5.23.0 and torchvision 0.28.0.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FILE = Path(__file__).parent / "data" / "videos.npz"
PROCESSORS = {
    "llava_onevision": "LlavaOnevisionProcessor",
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
}
SHAPES = ((3, 25, 40), (4, 70, 18))
"""(frames, height, width): an odd count, sides that must grow and that must shrink."""
TEXT = "what is it?"
FPS = 7.5
PLACES = {"llava_onevision": "<video>"}
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"


def prompt_of(model: str) -> str:
    """Return a prompt with the placeholder of one video."""
    return PLACES.get(model, VIDEO) + TEXT


def record() -> dict[str, Any]:
    """Return every array by model, number of the video and name."""
    import transformers

    from mmtrt.native.make_tiny import make_tiny
    from tests.native.videos import moving

    arrays = {}
    for model, name in PROCESSORS.items():
        with TemporaryDirectory() as directory:
            make_tiny(model, Path(directory), 0)
            processor = getattr(transformers, name).from_pretrained(directory)
        for number, shape in enumerate(SHAPES):
            count = shape[0]
            given = processor(
                text=[prompt_of(model)],
                videos=[moving(*shape)],
                video_metadata=[
                    {"total_num_frames": count, "fps": FPS, "frames_indices": [*range(count)]}
                ],
                return_tensors="np",
            )
            for key, value in given.items():
                if key not in ("video_metadata", "attention_mask"):
                    arrays[f"{model}/{number}/{key}"] = value
    return arrays


if __name__ == "__main__":
    import numpy as np

    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **record())
