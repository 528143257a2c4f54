"""A tiny Fuyu: patches of 8 pixels of pictures of up to 64 x 64, Persimmon of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmtrt.native.tiny.parts import SENTENCES, TEXT, VOCAB, randomise, save

PATCH_PX = 8
SIDE_PX = 64
_SPECIAL = ("<unk>", "<s>", "</s>", "|SPEAKER|", "|NEWLINE|", "<0x04>")


def make(directory: Path, seed: int) -> None:
    """Write the model directory."""
    import transformers as tf

    text = {key: value for key, value in TEXT.items() if key != "num_key_value_heads"}
    config = tf.FuyuConfig(
        text_config={**text, "model_type": "persimmon", "partial_rotary_factor": 0.5},
        patch_size=PATCH_PX,
        image_token_id=_SPECIAL.index("|SPEAKER|"),
    )
    model = randomise(tf.FuyuForCausalLM(config), seed)
    images = tf.FuyuImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX},
        patch_size={"height": PATCH_PX, "width": PATCH_PX},
    )
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=_pieces(),
        unk_token="<unk>",
        pad_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
    )
    save(directory, model, tf.FuyuProcessor(images, tokenizer))


def _pieces() -> Any:
    """Return a tokenizer like the original's, which begins every text with an underscore.

    The processor counts on that piece, and on placeholders that are pieces as all others are.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers

    letters = sorted({letter for sentence in SENTENCES for letter in sentence} | set("▁.,?!\n"))
    words = sorted({f"▁{word}" for sentence in SENTENCES for word in sentence.split()})
    ascii_left = [chr(code) for code in range(33, 127) if chr(code) not in letters]
    pieces = [*_SPECIAL, *letters, *ascii_left, *words][:VOCAB]
    # Longer pieces are likelier, so that words and placeholders stay in one piece.
    scored = [(piece, -1.0 if piece in _SPECIAL else -10.0 + len(piece)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer
