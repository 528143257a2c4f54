"""Random LLaVAs of some 60,000 parameters with a tokenizer and an image processor of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE_PX = 24
PATCH_PX = 8
ROWS = (IMAGE_PX // PATCH_PX) ** 2
VOCAB = 320
PROMPTS = (
    "what colour is it?",
    "is there a circle on the left, and is its background white?",
    "name the shape.",
)


def make_model(directory: Path, *, seed: int = 0, **overrides: Any) -> Any:
    """Write a complete model directory and return the torch model.

    ``tied``, ``text_type``, ``tower``, ``strategy`` and ``layer`` choose variants;
    ``max_shard_size`` shards.
    """
    import torch
    import transformers as tf

    tied = overrides.get("tied", False)
    text_class = {"llama": tf.LlamaConfig, "qwen2": tf.Qwen2Config, "mistral": tf.MistralConfig}
    text = text_class[overrides.get("text_type", "llama")](
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCAB,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.3,
        sliding_window=None,
    )
    is_siglip = overrides.get("tower") == "siglip"
    # Without its pooling head, as the LLaVA models with this tower are published.
    own = {"vision_use_head": False} if is_siglip else {"projection_dim": 32}
    vision = (tf.SiglipVisionConfig if is_siglip else tf.CLIPVisionConfig)(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        **own,
    )
    strategy = overrides.get("strategy", "default")
    config = tf.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=3,
        image_seq_length=ROWS,
        tie_word_embeddings=tied,
        vision_feature_select_strategy=strategy,
        vision_feature_layer=overrides.get("layer", -2),
    )
    torch.manual_seed(seed)
    model = tf.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        # Default initialisation gives nearly equal logits, which would hide wrong ones.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory, max_shard_size=overrides.get("max_shard_size", "1GB"))
    make_processor(directory, is_siglip=is_siglip, strategy=strategy)
    return model


def make_processor(directory: Path, *, is_siglip: bool = False, strategy: str = "default") -> None:
    """Write the tokenizer and the image processor."""
    import transformers as tf
    from transformers import LlavaProcessor, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_tokenizer(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )
    square = {"height": IMAGE_PX, "width": IMAGE_PX}
    images = (
        tf.SiglipImageProcessorPil(size=square)
        if is_siglip
        else tf.CLIPImageProcessorPil(size={"shortest_edge": IMAGE_PX}, crop_size=square)
    )
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=0 if is_siglip else 1,
    ).save_pretrained(directory)


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*PROMPTS, "USER: ASSISTANT:"] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def make_image(path: Path, *, seed: int, size: tuple[int, int] = (40, 31)) -> Path:
    """Write a random RGB image of ``size`` (width, height)."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_sparse_model(directory: Path, layers: int, hidden: int) -> tuple[int, int]:
    """Write a large model of zeros without its bytes; return its size and its largest tensor's.

    The file is sparse, so that the test needs time and disk only for what it converts.
    """
    import json

    tensors = {
        "language_model.model.embed_tokens.weight": [1024, hidden],
        "language_model.model.norm.weight": [hidden],
        "language_model.lm_head.weight": [1024, hidden],
        "multi_modal_projector.linear_1.weight": [hidden, 8],
        "multi_modal_projector.linear_2.weight": [hidden, hidden],
        "vision_tower.embeddings.class_embedding": [8],
        "vision_tower.embeddings.patch_embedding.weight": [8, 3, 8, 8],
        "vision_tower.embeddings.position_embedding.weight": [10, 8],
    }
    for norm in ("pre_layrnorm", "post_layernorm"):
        tensors |= {f"vision_tower.{norm}.{kind}": [8] for kind in ("weight", "bias")}
    wide = hidden * 2
    for layer in range(layers):
        prefix = f"language_model.model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{norm}.weight"] = [hidden]
        for name in "qkvo":
            tensors[f"{prefix}.self_attn.{name}_proj.weight"] = [hidden, hidden]
        for name, shape in (
            ("gate", [wide, hidden]),
            ("up", [wide, hidden]),
            ("down", [hidden, wide]),
        ):
            tensors[f"{prefix}.mlp.{name}_proj.weight"] = shape
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, size = end, 4
        for side in shape:
            size *= side
        end += size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    config = {
        "model_type": "llava",
        "image_token_index": 3,
        "multimodal_projector_bias": False,
        "text_config": {
            "model_type": "llama",
            "num_hidden_layers": layers,
            "vocab_size": 1024,
            "hidden_size": hidden,
            "intermediate_size": wide,
        },
        "vision_config": {
            "hidden_size": 8,
            "num_attention_heads": 1,
            "model_type": "clip_vision_model",
            "num_hidden_layers": 0,
            "image_size": 24,
            "patch_size": 8,
        },
    }
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    encoded = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(file.tell() + end)
    return end, wide * hidden * 4
