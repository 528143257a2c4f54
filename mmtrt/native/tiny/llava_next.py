"""A tiny LLaVA-NeXT: CLIP tiles of 24 pixels, Mistral, grids of up to two by two or three tiles."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import TEXT, VISION, fast_tokenizer, randomise, save

TILE_PX = 24
PATCH_PX = 8
PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    config = tf.LlavaNextConfig(
        vision_config=tf.CLIPVisionConfig(
            **VISION, image_size=TILE_PX, patch_size=PATCH_PX, projection_dim=32
        ),
        text_config=tf.MistralConfig(**TEXT, sliding_window=None),
        image_token_index=3,
        image_grid_pinpoints=PINPOINTS,
        image_seq_length=(TILE_PX // PATCH_PX) ** 2,
        tie_word_embeddings=False,
    )
    model = randomise(tf.LlavaNextForConditionalGeneration(config), seed)
    images = tf.LlavaNextImageProcessorPil(
        size={"shortest_edge": TILE_PX},
        crop_size={"height": TILE_PX, "width": TILE_PX},
        image_grid_pinpoints=PINPOINTS,
    )
    processor = tf.LlavaNextProcessor(
        images,
        fast_tokenizer(["<image>"]),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    save(directory, model, processor)
