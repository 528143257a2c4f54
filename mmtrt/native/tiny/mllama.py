"""A tiny Llama 3.2 Vision: tiles of 32 pixels, four layers, one of which attends across."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import TEXT, VOCAB, fast_tokenizer, randomise, save

TILE_PX = 32
PATCH_PX = 8
TILES = 4
ROLES = {"pad_token": "<pad>", "bos_token": "<|begin_of_text|>", "eos_token": "</s>"}


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    # The image token is the first beyond the vocabulary of the head, as in the original.
    tokenizer = fast_tokenizer(["<|python_tag|>"], roles=ROLES, bos=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    vision = tf.MllamaVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_global_layers=1,
        attention_heads=4,
        image_size=TILE_PX,
        patch_size=PATCH_PX,
        max_num_tiles=TILES,
        intermediate_layers_indices=[0, 1],
        vision_output_dim=3 * 32,
    )
    config = tf.MllamaConfig(
        vision_config=vision,
        text_config=tf.MllamaTextConfig(
            **TEXT | {"num_hidden_layers": 4}, cross_attention_layers=[1]
        ),
        image_token_index=VOCAB,
    )
    model = randomise(tf.MllamaForConditionalGeneration(config), seed)
    images = tf.MllamaImageProcessorPil(
        size={"height": TILE_PX, "width": TILE_PX}, max_image_tiles=TILES
    )
    save(directory, model, tf.MllamaProcessor(images, tokenizer))
