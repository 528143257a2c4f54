"""A tiny Phi-4-multimodal: crops of 448 pixels as in the original, whose numbers are fixed."""

from __future__ import annotations

from pathlib import Path

from mmtrt.native.tiny.parts import TEXT, fast_tokenizer, randomise

SPECIAL = ("<|image|>", "<|audio|>", "<|user|>", "<|assistant|>", "<|end|>")


def make(directory: Path, seed: int) -> None:
    """Write the model directory; its image processor has no settings to be written."""
    import transformers as tf

    tokenizer = fast_tokenizer(SPECIAL)
    image, audio = tokenizer.convert_tokens_to_ids(list(SPECIAL[:2]))
    config = tf.Phi4MultimodalConfig(
        **TEXT,
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "image_token_id": image,
        },
        audio_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_blocks": 1,
            "num_attention_heads": 1,
            "ext_pw_out_channel": 16,
            "depthwise_separable_out_channel": 16,
            "nemo_conv_channels": 16,
            "audio_token_id": audio,
        },
    )
    model = randomise(tf.Phi4MultimodalForCausalLM(config), seed)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
