"""A tiny LLaVA-OneVision: SigLIP tiles of 24 pixels, Qwen2, grids shrunk above two tiles."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.hf_processor import image_only
from mmtrt.native.tiny.parts import (
    TEXT,
    VISION,
    fast_tokenizer,
    randomise,
    save,
    save_video_settings,
)

TILE_PX = 24
PATCH_PX = 8
PINPOINTS = [[24 * rows, 24 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
MAX_TILES = 2
SPECIAL = ("<image>", "<video>", "<|im_start|>", "<|im_end|>")


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    ratio = f"anyres_max_{MAX_TILES}"
    config = tf.LlavaOnevisionConfig(
        vision_config=tf.SiglipVisionConfig(
            **VISION, image_size=TILE_PX, patch_size=PATCH_PX, vision_use_head=False
        ),
        text_config=tf.Qwen2Config(**TEXT),
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio=ratio,
        tie_word_embeddings=False,
    )
    model = randomise(tf.LlavaOnevisionForConditionalGeneration(config), seed)
    images = tf.LlavaOnevisionImageProcessorPil(
        size={"height": TILE_PX, "width": TILE_PX}, image_grid_pinpoints=PINPOINTS
    )
    processor = image_only("LlavaOnevisionProcessor")(
        images,
        fast_tokenizer(SPECIAL),
        num_image_tokens=(TILE_PX // PATCH_PX) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=ratio,
    )
    save(directory, model, processor)
    size = {"height": TILE_PX, "width": TILE_PX}
    save_video_settings(directory, "LlavaOnevisionVideoProcessor", size=size)
