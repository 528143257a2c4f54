"""What the tiny models share: sizes, a tokenizer, random weights that show mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtrt.native.json_file import write_json

VOCAB = 384
"""Entries of the tokenizer and rows of the embedding, placeholders included."""

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""Settings of a Llama-like language model."""

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
"""Settings of a CLIP-like tower."""

SENTENCES = (
    "What colour is the shape in the picture?",
    "Is there a circle on the left, and is its background white?",
    "Name the shape. How many are there? Describe what is shown.",
    "USER: ASSISTANT: Question: Answer: the table behind the chart",
)
"""What the tokenizer is trained on. *Chosen*: words of the prompts that people try first."""

_MATRIX_STD = 0.25
_VECTOR_STD = 0.1
_EMBEDDING_STD = 0.1
"""*Chosen*: transformers' own initialisation gives nearly equal logits, which would hide wrong
ones; much more makes rounding errors visible. Small embeddings, so that a model whose head is tied
to them says something else than the token it was given."""


def randomise(model: Any, seed: int) -> Any:
    """Fill every parameter from a seed and return the model, ready to be saved."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "embed_tokens" in name or "shared" in name:
                parameter.copy_(noise * _EMBEDDING_STD)
            elif parameter.ndim > 1:
                parameter.copy_(noise * _MATRIX_STD)
            else:
                parameter.add_(noise * _VECTOR_STD)
    return model.eval()


def byte_bpe(special: Sequence[str], *, bos: str | None = "<s>", vocab_size: int = VOCAB) -> Any:
    """Return a byte-level BPE tokenizer whose first entries are the special tokens, in order.

    Args:
        special: ``<pad>``, ``<s>`` and ``</s>`` by convention, then the placeholders.
        bos: what every text begins with; ``None`` for nothing.
        vocab_size: entries in all.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(each, normalized=False, special=True) for each in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer


USUAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
"""Roles of the first entries, in the order of their ids."""


def fast_tokenizer(
    special: Sequence[str] = (), *, roles: Mapping[str, str] = USUAL, bos: bool = True, **extra: Any
) -> Any:
    """Return ``byte_bpe`` as transformers wraps it.

    Args:
        special: placeholders; their ids follow those of ``roles``.
        roles: attribute to token; the first ids are theirs.
        bos: whether the tokenizer puts ``<s>`` before every text.
        extra: further settings of ``PreTrainedTokenizerFast``.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=byte_bpe(
            [*roles.values(), *special], bos=roles["bos_token"] if bos else None
        ),
        padding_side="left",
        **roles,
        **extra,
    )


def save(directory: Path, model: Any, processor: Any) -> None:
    """Write model and processor as a published directory has them."""
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def save_video_settings(directory: Path, type_: str, **settings: Any) -> None:
    """Write a video processor's file by hand: its class needs torchvision to be made.

    Args:
        directory: the model's.
        type_: name of the class in transformers.
        settings: those that differ from the class's own.
    """
    write_json(
        directory / "video_preprocessor_config.json", {"video_processor_type": type_, **settings}
    )
