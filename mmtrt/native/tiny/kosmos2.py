"""A tiny Kosmos-2: pictures of 32 pixels, 64 latent queries, a decoder of two layers."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import VISION, VOCAB, fast_tokenizer, randomise, save

SIDE_PX = 32
PATCH_PX = 8
LATENTS = 64
PATCH_INDICES = 16
ROLES = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    config = tf.Kosmos2Config(
        text_config={
            # The processor adds its own tokens to the tokenizer's.
            "vocab_size": VOCAB + 2 * PATCH_INDICES,
            "max_position_embeddings": 512,
            "embed_dim": 32,
            "layers": 2,
            "ffn_dim": 48,
            "attention_heads": 4,
        },
        vision_config={**VISION, "image_size": SIDE_PX, "patch_size": PATCH_PX},
        latent_query_num=LATENTS,
    )
    model = randomise(tf.Kosmos2ForConditionalGeneration(config), seed)
    images = tf.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}
    )
    tokenizer = fast_tokenizer(roles=ROLES, bos=False)
    save(directory, model, tf.Kosmos2Processor(images, tokenizer, PATCH_INDICES))
