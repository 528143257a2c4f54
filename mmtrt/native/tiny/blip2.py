"""Tiny BLIP-2s: pictures of 32 pixels, 8 queries, and OPT or T5 of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.tiny.parts import VISION, VOCAB, fast_tokenizer, randomise, save

SIDE_PX = 32
PATCH_PX = 8
QUERIES = 8


def make(directory: Path, seed: int) -> None:
    """Write the model directory of one with OPT."""
    import transformers as tf

    text = tf.OPTConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    make_with(directory, seed, text)


def make_with(directory: Path, seed: int, text: Any) -> None:
    """Write the model directory of one with another language model."""
    import transformers as tf

    tokenizer = fast_tokenizer(["<image>"])
    config = tf.Blip2Config(
        vision_config=tf.Blip2VisionConfig(**VISION, image_size=SIDE_PX, patch_size=PATCH_PX),
        qformer_config=tf.Blip2QFormerConfig(**VISION, vocab_size=VOCAB),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = randomise(tf.Blip2ForConditionalGeneration(config), seed)
    images = tf.BlipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX})
    processor = tf.Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
    save(directory, model, processor)
