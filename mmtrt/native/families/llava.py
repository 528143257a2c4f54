"""LLaVA 1.5: a CLIP tower, a two-layer projector and a Llama-like language model.

Source: transformers 5.23, models/llava (modeling, configuration, processing) and
conversion_mapping.py for the key layouts; checked against it by ``tests/native``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmtrt.native.component import Component, ComponentName, SpecialTokens
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families.llava_frontend import LlavaFrontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import HfModel

_RECOMPUTED = re.compile(r"(rotary_emb\.inv_freq|embeddings\.position_ids)$")
"""Buffers that old files store and that follow from the configuration."""

# Defaults that published files rely on by leaving the key out (llava-1.5-7b does).
# Source: LlamaConfig and LlavaConfig.sub_configs_defaults, transformers 5.23.
_TEXT_LAYERS = 32
_VISION_DEFAULTS = {"num_hidden_layers": 24, "image_size": 336, "patch_size": 14}

_TEXT_TYPES = ("llama", "mistral", "qwen2")
_VISION_TYPES = ("clip_vision_model",)
_WEIGHT_AND_BIAS = ("weight", "bias")


class Llava:
    """The family's layout; graphs come from ``llava_modules``, prompts from ``llava_frontend``.

    Unlike the other families it asks transformers nothing before the build: a model is converted by
    copying bytes, and its engines run without torch.
    """

    name = "llava"

    def component_names(self, model: HfModel) -> dict[ComponentName, dict[str, str]]:
        """See ``Family.component_names``."""
        self._check_supported(model.config)
        names: dict[ComponentName, dict[str, str]] = {"llm": {}, "vision": {}}
        for source in model.tensors:
            place = _place(source)
            if place is None:
                raise NativeError(
                    f"{source}: no component of {self.name} has this tensor",
                    code="MDL207",
                    fix="check that config.json and the weights belong to the same model",
                )
            component, target = place
            if not _RECOMPUTED.search(target):
                names[component][target] = source
        if _is_tied(model.config):
            # A tied file may store the head too; transformers ignores it, so must we.
            names["llm"].pop("lm_head.weight", None)
        found = names["llm"].keys() | names["vision"].keys()
        missing = [name for name in _expected(model.config) if name not in found]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise NativeError(
                f"{model.directory}: the weights lack {missing[0]}{more}",
                code="MDL204",
                why="config.json asks for it",
                fix="finish the download of the model",
            )
        return names

    def components(self, model: HfModel, dtype: str) -> dict[ComponentName, Component]:
        """See ``Family.components``."""
        config = model.config
        names = self.component_names(model)
        vocab_size, hidden_size = model.tensors[names["llm"]["model.embed_tokens.weight"]].shape
        text: dict[str, Any] = dict(config["text_config"])
        text.setdefault("vocab_size", vocab_size)
        if text["vocab_size"] != vocab_size:
            raise NativeError(
                f"{model.directory}: vocab_size is {text['vocab_size']} but the embedding has "
                f"{vocab_size} rows",
                code="MDL209",
                why="ids from vocab_size on address rows of the prompt table",
            )
        tied = _is_tied(config)
        text["tie_word_embeddings"] = tied
        side, patch = (_vision(config)[key] for key in ("image_size", "patch_size"))
        has_class_row = config.get("vision_feature_select_strategy", "default") == "full"
        # The projector's own settings stand at the top of the configuration, beside both parts.
        whole = {key: value for key, value in config.items() if key != "transformers_version"}
        hf_configs: dict[ComponentName, dict[str, Any]] = {"llm": text, "vision": whole}
        return {
            component: Component(
                family=self.name,
                component=component,
                dtype=dtype,
                hf_config=hf_config,
                vocab_size=vocab_size,
                hidden_size=hidden_size,
                num_visual_features=(side // patch) ** 2 + int(has_class_row),
                image_size=(side, side),
                special_tokens=_special_tokens(model),
                tie_word_embeddings=tied,
            )
            for component, hf_config in hf_configs.items()
        }

    def linear_modules(self, names: Iterable[str]) -> list[str]:
        """See ``Family.linear_modules``: the projections of attention and MLP, not the head."""
        suffix = "_proj.weight"
        return [name.removesuffix(".weight") for name in names if name.endswith(suffix)]

    def text_config(self, component: Component) -> dict[str, Any]:
        """See ``Family.text_config``."""
        return component.hf_config

    def graph(self, component: Component, checkpoint_dir: Path, max_seq_len: int) -> Graph:
        """See ``Family.graph``."""
        from mmtrt.native.families import llava_modules

        if component.component == "vision":
            return llava_modules.vision_graph(component, checkpoint_dir)
        return llava_modules.llm_graph(component, checkpoint_dir, max_seq_len)

    def language_model(self, component: Component) -> Any:
        """Return the causal language model of transformers without its weights."""
        from mmtrt.native.families.llava_modules import language_model

        return language_model(component.hf_config)

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> LlavaFrontend:
        """See ``Family.frontend``."""
        return LlavaFrontend(model_dir, llm, vision)

    def _check_supported(self, config: dict[str, Any]) -> None:
        parts = (("text_config", _TEXT_TYPES, "llama"), ("vision_config", _VISION_TYPES, None))
        for part, supported, default in parts:
            section = config.get(part)
            kind = section.get("model_type", default) if isinstance(section, dict) else None
            if kind not in supported:
                raise NativeError(
                    f"{part}.model_type {kind!r} is not supported for {self.name}",
                    code="MDL208",
                    why=f"the native toolchain was tested with: {', '.join(supported)}",
                )


FAMILY = Llava()


def _place(source: str) -> tuple[ComponentName, str] | None:
    """Return a tensor's component and its name there; published files have four key layouts."""
    # transformers since 4.52 puts "model." before everything; most published files lack it.
    name = source.removeprefix("model.")
    if name.startswith(("vision_tower.", "multi_modal_projector.")):
        # transformers before 5 wraps the tower once more.
        return "vision", name.replace("vision_tower.vision_model.", "vision_tower.", 1)
    if name.startswith("language_model."):
        name = name.removeprefix("language_model.")
        is_head = name.startswith("lm_head.")
        return "llm", name if is_head else "model." + name.removeprefix("model.")
    return ("llm", source) if source.startswith("lm_head.") else None


def _is_tied(config: dict[str, Any]) -> bool:
    text = config["text_config"]
    return bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings"))


def _vision(config: dict[str, Any]) -> dict[str, Any]:
    return {**_VISION_DEFAULTS, **config["vision_config"]}


def _special_tokens(model: HfModel) -> SpecialTokens:
    config, text = model.config, model.config["text_config"]

    def find(key: str) -> Any:
        places = (model.generation_config, config, text)
        return next((place[key] for place in places if place.get(key) is not None), None)

    eos = find("eos_token_id")
    image = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(image, int):
        raise NativeError(
            f"{model.directory}: config.json names no image_token_index", code="MDL209"
        )
    return SpecialTokens(
        image=image,
        bos=find("bos_token_id"),
        pad=find("pad_token_id"),
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
    )


def _expected(config: dict[str, Any]) -> Iterator[str]:
    """Yield the names of all tensors that the configuration asks for."""
    yield from _expected_text(config["text_config"])
    if not _is_tied(config):
        yield "lm_head.weight"
    yield from _expected_vision(_vision(config)["num_hidden_layers"])
    kinds = _WEIGHT_AND_BIAS if config.get("multimodal_projector_bias", True) else ("weight",)
    for linear in ("linear_1", "linear_2"):
        yield from (f"multi_modal_projector.{linear}.{kind}" for kind in kinds)


def _expected_text(text: dict[str, Any]) -> Iterator[str]:
    is_qwen2 = text.get("model_type") == "qwen2"
    yield from ("model.embed_tokens.weight", "model.norm.weight")
    for layer in range(text.get("num_hidden_layers", _TEXT_LAYERS)):
        prefix = f"model.layers.{layer}"
        yield from (
            f"{prefix}.{norm}.weight" for norm in ("input_layernorm", "post_attention_layernorm")
        )
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{prefix}.self_attn.{projection}.weight"
            if text.get("attention_bias") or (is_qwen2 and projection != "o_proj"):
                yield f"{prefix}.self_attn.{projection}.bias"
        for projection in ("gate_proj", "up_proj", "down_proj"):
            yield f"{prefix}.mlp.{projection}.weight"
            if text.get("mlp_bias"):
                yield f"{prefix}.mlp.{projection}.bias"


def _expected_vision(layers: int) -> Iterator[str]:
    yield "vision_tower.embeddings.class_embedding"
    yield "vision_tower.embeddings.patch_embedding.weight"
    yield "vision_tower.embeddings.position_embedding.weight"
    # "pre_layrnorm" is spelled so in every CLIP checkpoint.
    norms = ("vision_tower.pre_layrnorm", "vision_tower.post_layernorm")
    attention = (f"self_attn.{side}_proj" for side in ("q", "k", "v", "out"))
    modules = ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2", *attention)
    inner = (
        f"vision_tower.encoder.layers.{n}.{module}" for n in range(layers) for module in modules
    )
    for path in (*norms, *inner):
        yield from (f"{path}.{kind}" for kind in _WEIGHT_AND_BIAS)
