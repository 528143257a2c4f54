"""What the stages ask of a model family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from mmtrt.native.component import Component, ComponentName
from mmtrt.native.hf_model import HfModel


class Family(Protocol):
    """One model family: how its checkpoint is laid out, how its parts become graphs, its prompts.

    Methods that return torch modules import torch themselves; the others must not.
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
        """Return the linear modules of the ``llm`` component whose weights may be packed."""
        ...

    def vision_encoder(self, component: Component) -> Any:
        """Return a module ``pixels [N, 3, H, W] -> features [N, rows, D]`` without its weights.

        Its ``state_dict`` has the names that ``component_names`` gives.
        """
        ...

    def language_model(self, component: Component) -> Any:
        """Return a causal language model of transformers without its weights."""
        ...

    def prompt(self, text: str, *, has_image: bool) -> str:
        """Return the text as the model was trained to read it.

        A text that holds the image placeholder is the user's own prompt and comes back as it is.
        """
        ...

    @property
    def image_placeholder(self) -> str:
        """What stands for one image in a prompt."""
        ...
