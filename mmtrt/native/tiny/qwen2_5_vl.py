"""A tiny Qwen2.5-VL: the pictures of the tiny Qwen2-VL, seen in windows of two by two squares."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import TEXT, randomise
from mmtrt.native.tiny.qwen2_vl import MERGE, PATCH_PX, SETTINGS, save_with_processor, special_ids

WINDOW_PX = 2 * PATCH_PX * MERGE
TOKENS_PER_SECOND = 2


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    tokenizer, ids = special_ids()
    config = tf.Qwen2_5_VLConfig(
        **SETTINGS,
        **ids,
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": TEXT["hidden_size"],
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "window_size": WINDOW_PX,
            "fullatt_block_indexes": [1],
            "tokens_per_second": TOKENS_PER_SECOND,
        },
    )
    model = randomise(tf.Qwen2_5_VLForConditionalGeneration(config), seed)
    save_with_processor(directory, model, tokenizer, "Qwen2_5_VLProcessor")
