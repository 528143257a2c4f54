"""The torch modules of LLaVA, built from a component's configuration; weights come later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoModelForCausalLM, CLIPVisionModel, LlavaConfig
from transformers.initialization import no_init_weights
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from mmtrt.native import llm_graph as base
from mmtrt.native.component import Component
from mmtrt.native.errors import NativeError
from mmtrt.native.graph import Graph
from mmtrt.native.pixel_graph import pixel_graph
from mmtrt.native.weights import load_weights

# Plain matrix products: fewer nodes than scaled_dot_product_attention becomes, exported faster.
_ATTENTION = "eager"


class VisionEncoder(nn.Module):
    """Tower and projector: ``pixels [N, 3, H, W] -> features [N, rows, D]``.

    N: images; rows: visual features of one image; D: hidden size of the language model.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.vision_tower = CLIPVisionModel._from_config(
            config.vision_config, attn_implementation=_ATTENTION
        )
        self.multi_modal_projector = LlavaMultiModalProjector(config)
        layers = config.vision_feature_layer
        self._layers = [layers] if isinstance(layers, int) else list(layers)
        self._skips_class_row = config.vision_feature_select_strategy == "default"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the projected features; same layers and rows as ``LlavaModel``."""
        hidden = self.vision_tower(pixels, output_hidden_states=True).hidden_states
        chosen = [hidden[layer] for layer in self._layers]
        if self._skips_class_row:
            chosen = [rows[:, 1:] for rows in chosen]
        return self.multi_modal_projector(torch.cat(chosen, dim=-1))


def vision_encoder(hf_config: dict[str, Any]) -> VisionEncoder:
    """Build the vision encoder of a ``LlavaConfig`` given as JSON, without weights."""
    config = _read(LlavaConfig, hf_config)
    with no_init_weights():
        return VisionEncoder(config).eval()


def language_model(hf_config: dict[str, Any]) -> Any:
    """Build the causal language model of a text configuration given as JSON, without weights."""
    config = _read(CONFIG_MAPPING[hf_config.get("model_type", "llama")], hf_config)
    with no_init_weights():
        return AutoModelForCausalLM.from_config(config, attn_implementation=_ATTENTION).eval()


def vision_graph(component: Component, checkpoint_dir: Path) -> Graph:
    """Return the vision encoder with its weights."""
    encoder = load_weights(vision_encoder(component.hf_config), checkpoint_dir)
    return pixel_graph(encoder, *component.image_size)


def llm_graph(component: Component, checkpoint_dir: Path, max_seq_len: int) -> Graph:
    """Return the language model with its weights."""
    model = language_model(component.hf_config)
    if component.quantization:
        from mmtrt.native.packed_linear import replace_linears

        replace_linears(model, component.quantization)
    load_weights(model, checkpoint_dir, tied_head=component.tie_word_embeddings)
    module = base.PromptTableLlm(
        model.model, model.lm_head, vocab_size=model.config.vocab_size, max_seq_len=max_seq_len
    )
    cache = base.CacheShape.of(model.config, max_seq_len)
    return base.llm_graph(module, cache, hidden_size=component.hidden_size)


def _read(config_class: Any, hf_config: dict[str, Any]) -> Any:
    try:
        return config_class.from_dict(hf_config)
    except (ValueError, StrictDataclassError) as error:
        raise NativeError(
            "transformers refuses the model's configuration: " + " ".join(str(error).split()),
            code="MDL209",
        ) from error
