"""What the stages ask of a model family."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from mmtrt.native.component import Component, ComponentName
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.frontend import Frontend
from mmtrt.native.graph import Graph
from mmtrt.native.hf_model import HfModel


class Family(Protocol):
    """One model family: how its checkpoint is laid out, how its parts become graphs, its prompts.

    Graphs that every family gives, by component (N: pictures, tiles or patch rows, as the family
    counts them; D: width of the visual features; B, S, MAX, V, P, H as in ``llm_graph``):

    * ``vision``: the family's own pixel tensors -> ``features [N, rows, D]``, and more if needed
    * ``audio``: the family's own tensors of one sound -> ``features [rows, D]``, and more if needed
    * ``llm``: ``ids, positions, start, kv_mask, table, keys, values``, and the family's extras ->
      ``logits [B, V]``, keys and values; ids from V on are rows of ``table``
    * ``encoder``: ``ids, kv_mask, table`` -> ``states [B, S, H]``
    * ``decoder``: ``ids, positions, start, kv_mask, states, states_mask, keys, values`` ->
      ``logits``, keys and values
    """

    @property
    def name(self) -> str:
        """The ``model_type`` in the model's ``config.json``."""
        ...

    def component_names(self, model: HfModel) -> dict[ComponentName, dict[str, str]]:
        """Return, for each component, the tensor's name in it to its name in the model.

        Raises:
            NativeError: MDL204, if a tensor that the configuration needs is missing; MDL207, if a
                tensor belongs to no component; MDL208, if a part of the model is not supported.
        """
        ...

    def components(self, model: HfModel, dtype: str) -> dict[ComponentName, Component]:
        """Return the configuration of each component, with weights stored as ``dtype``."""
        ...

    def linear_modules(self, names: Iterable[str]) -> list[str]:
        """Return the linear modules of a language model component whose weights may be packed."""
        ...

    def text_config(self, component: Component) -> dict[str, Any]:
        """Return the language model's part of a component's configuration."""
        ...

    def graph(self, component: Component, checkpoint_dir: Path, max_seq_len: int) -> Graph:
        """Return a component with its weights, ready for export.

        Args:
            component: which one, and its configuration.
            checkpoint_dir: where its weights are.
            max_seq_len: length of the KV cache; of no meaning for ``vision`` and ``encoder``.
        """
        ...

    def language_model(self, component: Component) -> Any:
        """Return a causal language model of transformers without its weights.

        For engines with graphs of their own.

        Raises:
            NativeError: MDL208, if the family's language model is not a plain one.
        """
        ...

    def frontend(self, model_dir: Path, llm: EngineConfig, vision: EngineConfig) -> Frontend:
        """Return what turns texts and pictures into the engines' inputs.

        Raises:
            NativeError: RUN214, if the model's processor cannot be used.
        """
        ...
