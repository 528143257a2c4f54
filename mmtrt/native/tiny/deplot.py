"""A tiny Pix2Struct: at most 32 patches of 8 pixels, a decoder of two layers."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import VOCAB, fast_tokenizer, randomise, save

PATCH_PX = 8
MAX_PATCHES = 32


def make(directory: Path, seed: int) -> None:
    """Write the model directory; no question is drawn above the picture: that needs a font."""
    import transformers as tf

    config = tf.Pix2StructConfig(
        text_config={
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": 2,
        },
        vision_config={
            "hidden_size": 32,
            "patch_embed_hidden_size": 3 * PATCH_PX**2,
            "d_kv": 8,
            "d_ff": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "patch_size": PATCH_PX,
            "seq_len": 64,
        },
        is_vqa=False,
    )
    model = randomise(tf.Pix2StructForConditionalGeneration(config), seed)
    images = tf.Pix2StructImageProcessorPil(
        patch_size={"height": PATCH_PX, "width": PATCH_PX}, max_patches=MAX_PATCHES, is_vqa=False
    )
    save(directory, model, tf.Pix2StructProcessor(images, fast_tokenizer()))
