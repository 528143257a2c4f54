"""A tiny BLIP-2 with T5, which has an encoder and a decoder."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.blip2 import make_with
from mmtrt.native.tiny.parts import VOCAB


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    text = tf.T5Config(
        vocab_size=VOCAB,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    make_with(directory, seed, text)
