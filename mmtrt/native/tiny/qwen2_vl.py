"""A tiny Qwen2-VL: patches of 8 pixels in squares of two by two, at most 24 squares a picture."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.hf_processor import image_only
from mmtrt.native.tiny.parts import TEXT, fast_tokenizer, randomise, save

PATCH_PX = 8
MERGE = 2
MIN_PIXELS = 4 * (PATCH_PX * MERGE) ** 2
MAX_PIXELS = 24 * (PATCH_PX * MERGE) ** 2
SPECIAL = (
    *("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|im_start|>", "<|im_end|>"),
)


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    tokenizer = fast_tokenizer(SPECIAL)
    image, video, start, end = tokenizer.convert_tokens_to_ids(list(SPECIAL[:4]))
    config = tf.Qwen2VLConfig(
        text_config={
            **TEXT,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
            },
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "hidden_size": TEXT["hidden_size"],
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )
    model = randomise(tf.Qwen2VLForConditionalGeneration(config), seed)
    images = tf.Qwen2VLImageProcessorPil(
        patch_size=PATCH_PX, merge_size=MERGE, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS
    )
    save(directory, model, image_only("Qwen2VLProcessor")(images, tokenizer))
