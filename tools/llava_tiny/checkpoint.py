"""Owns the untrained parts in Hugging Face layout: tokenizer, processor, model; and writing them.

Imports torch and transformers at the top: only the training script loads this module.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava_tiny.questions import corpus

# All chosen. The language model's sizes are multiples of 128, the block size of common int4
# formats; two key/value heads let it be split over two ranks.
IMAGE_PX = 48
PATCH_PX = 8
IMAGE_TOKENS = (IMAGE_PX // PATCH_PX) ** 2
VOCAB_SIZE = 384
VISION_HIDDEN = 96
TEXT_HIDDEN = 128
MAX_POSITIONS = 512
MAX_NEW_TOKENS = 24

UNK, BOS, EOS, PAD, IMAGE = "<unk>", "<s>", "</s>", "<pad>", "<image>"
SPECIAL = (UNK, BOS, EOS, PAD, IMAGE)

# Same text as the prompt of `questions.prompt`: images first, then the words of each turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{{ eos_token if message['role'] == 'assistant' else ' ' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the byte-level BPE tokenizer; it puts BOS first and never adds EOS."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    bpe.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if bpe.get_vocab_size() != VOCAB_SIZE:
        raise ValueError(f"the corpus fills {bpe.get_vocab_size()} of {VOCAB_SIZE} entries")
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE},
        model_max_length=MAX_POSITIONS,
        # Llama takes no token types, and transformers 4 would hand them on unless told.
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_processor() -> LlavaProcessor:
    """Build the processor: it resizes to 48x48 and widens ``<image>`` to 36 tokens."""
    side = {"height": IMAGE_PX, "width": IMAGE_PX}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": IMAGE_PX}, crop_size=side),
        tokenizer=build_tokenizer(),
        patch_size=PATCH_PX,
        # The tower adds its class token and "default" takes it away again.
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Build the model with random weights; seed torch first."""
    tokenizer = processor.tokenizer
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=VISION_HIDDEN,
            intermediate_size=4 * VISION_HIDDEN,
            projection_dim=VISION_HIDDEN,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=IMAGE_PX,
            patch_size=PATCH_PX,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_HIDDEN,
            intermediate_size=3 * TEXT_HIDDEN,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=MAX_POSITIONS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    return model


def write(out: Path, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
    """Write model and processor into ``out``, without pickles, laid out as LLaVA-1.5 is published.

    ``save_pretrained`` of transformers 5 writes names that transformers 4, and converters made for
    it, do not know. The published layout is read by both, so that is what stays on disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    processor.image_processor.save_pretrained(out)

    weights = out / "model.safetensors"
    tensors = {
        key.replace("vision_tower.", "vision_tower.vision_model.", 1): tensor
        for key, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
    # safetensors writes for the owner alone, which would hide the file from other users.
    weights.chmod(0o644)

    path = out / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["extra_special_tokens"] = {"image_token": IMAGE}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
