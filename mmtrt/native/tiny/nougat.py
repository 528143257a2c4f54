"""A tiny Nougat: pages of 96 x 64 pixels, a Swin encoder of three stages, mBART of two layers."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import VOCAB, fast_tokenizer, randomise, save

PAGE = (96, 64)
"""Height and width in pixels."""
PATCH_PX = 4
STAGES = (1, 1, 1)


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    encoder = tf.DonutSwinConfig(
        image_size=list(PAGE),
        patch_size=PATCH_PX,
        embed_dim=16,
        depths=list(STAGES),
        num_heads=[2, 2, 4],
        window_size=4,
        mlp_ratio=2.0,
    )
    decoder = tf.MBartConfig(
        vocab_size=VOCAB,
        d_model=64,
        decoder_layers=2,
        encoder_layers=2,
        decoder_attention_heads=4,
        encoder_attention_heads=4,
        decoder_ffn_dim=48,
        encoder_ffn_dim=48,
        max_position_embeddings=256,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        scale_embedding=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        forced_eos_token_id=2,
        decoder_start_token_id=1,
    )
    config = tf.VisionEncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    model = randomise(tf.VisionEncoderDecoderModel(config), seed)
    images = tf.NougatImageProcessorPil(size={"height": PAGE[0], "width": PAGE[1]})
    save(directory, model, tf.NougatProcessor(images, fast_tokenizer(bos=False)))
