"""A family that transformers implements: layout and weights from its own model class.

A component keeps the names that tensors have in the whole model, so that its weights load into
that class; which component a tensor belongs to is told by the prefix of its name. Needs torch and
transformers already for ``convert``: file layouts are transformers' own knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from mmtrt.native.component import Component, ComponentName, SpecialTokens
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError, in_one_line
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import HfModel
from mmtrt.native.hf_names import names_in_files
from mmtrt.native.hf_processor import without_torch
from mmtrt.native.weights import load_weights

PLAIN_TEXT_TYPES = ("llama", "mistral", "qwen2", "qwen2_vl_text", "qwen2_5_vl_text")
"""Language models that differ in sizes, biases and axes of positions only."""
_NO_LINEAR = re.compile(r"norm|embed|\bln_|_ln\b|relative_attention_bias")


Parts: TypeAlias = Mapping[ComponentName, tuple[str, ...]]
"""Component -> prefixes of its tensors' names; one tensor may belong to several components."""


class HfFamily:
    """Base of a family; what is not shared stands in the family's own module."""

    name: ClassVar[str]
    model_class: ClassVar[str]
    """Name of the class in ``transformers``."""
    parts: ClassVar[Parts]
    plain_text: ClassVar[bool] = False
    """Whether the language model, below ``model.language_model.``, is one of ``PLAIN_TEXT_TYPES``
    and needs ids, a table and positions alone: what engines with graphs of their own can take."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Prefixes of tensors that generation does not need."""

    def parts_of(self, config: Any) -> Parts:
        """Return ``parts``, where they depend on the configuration."""
        return self.parts

    def config(self, document: Mapping[str, Any]) -> Any:
        """Return a model's configuration as transformers reads it.

        Raises:
            NativeError: MDL209, if transformers refuses it.
        """
        with without_torch():
            from huggingface_hub.errors import StrictDataclassError
            from transformers import CONFIG_MAPPING

            try:
                return CONFIG_MAPPING[self.name].from_dict(dict(document))
            except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
                raise NativeError(
                    "transformers refuses the model's configuration: " + in_one_line(error, None),
                    code="MDL209",
                ) from error

    def skeleton(self, document: Mapping[str, Any], device: str = "cpu") -> Any:
        """Return the whole model without its weights; memory is only taken by what is loaded."""
        import torch
        import transformers
        from transformers.initialization import no_init_weights

        config = self.config(document)
        self.check_supported(config)
        # Plain matrix products: fewer nodes than scaled_dot_product_attention becomes, exported
        # faster, and able to add any mask.
        with no_init_weights(), torch.device(device):
            return getattr(transformers, self.model_class)._from_config(
                config, attn_implementation="eager", dtype=torch.float32
            )

    def check_supported(self, config: Any) -> None:
        """Refuse a model whose parts the graphs cannot express.

        Raises:
            NativeError: MDL208.
        """

    def component_names(self, model: HfModel) -> dict[ComponentName, dict[str, str]]:
        """See ``Family.component_names``."""
        skeleton = self.skeleton(model.config, "meta")
        sources = names_in_files(skeleton, model)
        parts = self.parts_of(skeleton.config)
        names: dict[ComponentName, dict[str, str]] = {part: {} for part in parts}
        for target, source in sources.items():
            owners = [part for part, prefixes in parts.items() if target.startswith(prefixes)]
            if not owners and not target.startswith(self.unused):
                raise NativeError(
                    f"{source}: no component of {self.name} has this tensor", code="MDL207"
                )
            for part in owners:
                names[part][target] = source
        return names

    def components(self, model: HfModel, dtype: str) -> dict[ComponentName, Component]:
        """See ``Family.components``."""
        config = self.config(model.config)
        text = config.get_text_config(decoder=True)
        document = {k: v for k, v in model.config.items() if k != "transformers_version"}
        return {
            part: Component(
                family=self.name,
                component=part,
                dtype=dtype,
                hf_config=document,
                vocab_size=self.vocab_size(text),
                hidden_size=text.hidden_size,
                num_visual_features=self.rows_per_image(config),
                image_size=self.image_size(config),
                special_tokens=self.special_tokens(config, model.generation_config),
                tie_word_embeddings=bool(getattr(config, "tie_word_embeddings", False)),
            )
            for part in self.parts_of(config)
        }

    def vocab_size(self, text: Any) -> int:
        """Return the ids that are tokens; from here on they are rows of the prompt table."""
        return text.vocab_size

    def rows_per_image(self, config: Any) -> int:
        """Return the rows that one image needs; 0 where that depends on the image."""
        return 0

    def image_size(self, config: Any) -> tuple[int, int]:
        """Return height and width of what the vision engine sees at once; 0 where any will do."""
        return 0, 0

    def special_tokens(self, config: Any, generation: Mapping[str, Any]) -> SpecialTokens:
        """Return the ids with a meaning; the generation settings win over the configuration."""
        text = config.get_text_config(decoder=True)

        def find(key: str) -> Any:
            places = (generation.get(key), getattr(config, key, None), getattr(text, key, None))
            return next((value for value in places if value is not None), None)

        eos = find("eos_token_id")
        return SpecialTokens(
            image=self.image_token(config),
            bos=find("bos_token_id"),
            pad=find("pad_token_id"),
            eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        )

    def started(
        self, config: Any, generation: Mapping[str, Any], start: int | None
    ) -> SpecialTokens:
        """Return the special tokens of a model whose decoder starts from a token of its own."""
        base = HfFamily.special_tokens(self, config, generation)
        forced = generation.get("forced_eos_token_id")
        return replace(base, start=start, forced_eos=forced)

    def image_token(self, config: Any) -> int | None:
        """Return the id that stands for a row of visual features."""
        return getattr(config, "image_token_id", None)

    def linear_modules(self, names: Iterable[str]) -> list[str]:
        """See ``Family.linear_modules``: everything linear inside the layers, not the head."""
        return [
            name.removesuffix(".weight")
            for name in names
            if name.endswith(".weight") and ".layers." in name and not _NO_LINEAR.search(name)
        ]

    def text_config(self, component: Component) -> dict[str, Any]:
        """See ``Family.text_config``."""
        text = self.config(component.hf_config).get_text_config(decoder=True)
        # Under the one name that all configurations answer to, whatever they call it.
        return {**text.to_dict(), "num_hidden_layers": text.num_hidden_layers}

    def graph(self, component: Component, checkpoint_dir: Path, max_seq_len: int) -> Graph:
        """See ``Family.graph``."""
        model = self.skeleton(component.hf_config)
        if component.quantization:
            from mmtrt.native.packed_linear import replace_linears

            replace_linears(model, component.quantization)
        prefixes = self.parts_of(model.config)[component.component]
        load_weights(model, checkpoint_dir, prefixes=prefixes)
        make = {
            "vision": lambda: self.vision_graph(model),
            "audio": lambda: self.audio_graph(model),
            "llm": lambda: self.llm_graph(model, max_seq_len),
            "encoder": lambda: self.encoder_graph(model),
            "decoder": lambda: self.decoder_graph(model, max_seq_len),
        }
        return make[component.component]()

    def language_model(self, component: Component) -> Any:
        """See ``Family.language_model``: only plain language models have one.

        Raises:
            NativeError: MDL208.
        """
        from transformers.initialization import no_init_weights

        text = self.config(component.hf_config).get_text_config(decoder=True)
        if not self.plain_text or text.model_type not in PLAIN_TEXT_TYPES:
            raise NativeError(
                f"engine=aot_inductor has no graph for {self.name} with a language model of type "
                f"{text.model_type}",
                code="MDL208",
                fix="use engine=onnxruntime",
            )
        with no_init_weights():
            return self.causal_model(text).eval()

    def causal_model(self, text: Any) -> Any:
        """Return a language model with its head, for the configuration of one that is plain."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_config(text, attn_implementation="eager")

    def vision_graph(self, model: Any) -> Graph:
        """Return the vision encoder of a loaded model."""
        raise NotImplementedError

    def audio_graph(self, model: Any) -> Graph:
        """Return the sound encoder of a loaded model, where it has one."""
        raise NotImplementedError

    def llm_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the language model of a loaded model; the usual one by default."""
        from mmtrt.native.llm_graph import CacheShape, PromptTableLlm, llm_graph

        text = model.config.get_text_config()
        module = PromptTableLlm(
            model.model.language_model,
            model.lm_head,
            vocab_size=text.vocab_size,
            max_seq_len=max_seq_len,
        )
        cache = CacheShape.of(text, max_seq_len)
        return llm_graph(module, cache, hidden_size=text.hidden_size)

    def encoder_graph(self, model: Any) -> Graph:
        """Return the text encoder of a loaded model, where it has one."""
        raise NotImplementedError

    def decoder_graph(self, model: Any, max_seq_len: int) -> Graph:
        """Return the decoder of a loaded model, where it has one."""
        raise NotImplementedError

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """See ``Family.frontend``."""
        raise NotImplementedError
