"""A tiny Gemma 3: pictures of 32 pixels, 4 features each, one layer of two with a short window."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import TEXT, VISION, fast_tokenizer, randomise, save

SIDE_PX = 32
PATCH_PX = 8
TOKENS = 4
WINDOW = 32
NAMES = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    tokenizer = fast_tokenizer(
        [*NAMES.values(), "<start_of_turn>", "<end_of_turn>"], extra_special_tokens=NAMES
    )
    config = tf.Gemma3Config(
        vision_config=tf.SiglipVisionConfig(
            **VISION, image_size=SIDE_PX, patch_size=PATCH_PX, vision_use_head=False
        ),
        text_config=tf.Gemma3TextConfig(
            **TEXT,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=WINDOW,
            layer_types=["sliding_attention", "full_attention"],
        ),
        mm_tokens_per_image=TOKENS,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        tie_word_embeddings=True,
    )
    model = randomise(tf.Gemma3ForConditionalGeneration(config), seed)
    images = tf.Gemma3ImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX})
    processor = tf.Gemma3Processor(images, tokenizer, image_seq_length=TOKENS)
    save(directory, model, processor)
