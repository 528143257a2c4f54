"""A tiny Qwen2-VL: patches of 8 pixels in squares of two by two, at most 24 squares a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.hf_processor import image_only
from mmtrt.native.tiny.parts import TEXT, fast_tokenizer, randomise, save, save_video_settings

PATCH_PX = 8
MERGE = 2
MIN_PIXELS = 4 * (PATCH_PX * MERGE) ** 2
MAX_PIXELS = 24 * (PATCH_PX * MERGE) ** 2
SPECIAL = (
    *("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|im_start|>", "<|im_end|>"),
)
SETTINGS = {
    "text_config": {
        **TEXT,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 1, 1],
        },
    },
    "tie_word_embeddings": True,
}
"""What both generations share."""


def special_ids() -> tuple[Any, dict[str, int]]:
    """Return the tokenizer, and the ids with a meaning as the configurations name them."""
    tokenizer = fast_tokenizer(SPECIAL)
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return tokenizer, dict(zip(names, tokenizer.convert_tokens_to_ids(list(SPECIAL[:4]))))


def save_with_processor(directory: Path, model: Any, tokenizer: Any, processor: str) -> None:
    """Write the model directory; videos have the settings of pictures, as published ones do."""
    import transformers as tf

    patches = {"patch_size": PATCH_PX, "merge_size": MERGE}
    images = tf.Qwen2VLImageProcessorPil(**patches, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    save(directory, model, image_only(processor)(images, tokenizer))
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    save_video_settings(directory, "Qwen2VLVideoProcessor", **patches, size=size)


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    tokenizer, ids = special_ids()
    config = tf.Qwen2VLConfig(
        **SETTINGS,
        **ids,
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "hidden_size": TEXT["hidden_size"],
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
        },
    )
    model = randomise(tf.Qwen2VLForConditionalGeneration(config), seed)
    save_with_processor(directory, model, tokenizer, "Qwen2VLProcessor")
