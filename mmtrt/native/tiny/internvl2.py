"""A tiny InternVL: tiles of 32 pixels, 4 features each, at most four of them and a thumbnail."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.hf_processor import image_only
from mmtrt.native.tiny.parts import TEXT, VISION, fast_tokenizer, randomise, save

TILE_PX = 32
PATCH_PX = 8
MAX_TILES = 4
TILE_TOKENS = (TILE_PX // PATCH_PX) ** 2 // 4
NAMES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    tokenizer = fast_tokenizer(
        [*NAMES.values(), "<|im_start|>", "<|im_end|>"], extra_special_tokens=NAMES
    )
    config = tf.InternVLConfig(
        vision_config=tf.InternVLVisionConfig(
            **VISION, image_size=[TILE_PX, TILE_PX], patch_size=[PATCH_PX, PATCH_PX]
        ),
        text_config=tf.Qwen2Config(**TEXT),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=TILE_TOKENS,
        tie_word_embeddings=False,
    )
    model = randomise(tf.InternVLForConditionalGeneration(config), seed)
    images = tf.GotOcr2ImageProcessorPil(
        size={"height": TILE_PX, "width": TILE_PX},
        crop_to_patches=True,
        min_patches=1,
        max_patches=MAX_TILES,
    )
    processor = image_only("InternVLProcessor")(images, tokenizer, image_seq_length=TILE_TOKENS)
    save(directory, model, processor)
