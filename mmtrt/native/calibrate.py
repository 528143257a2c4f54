"""Run a checkpoint's language model on a calibration set and watch what its linear layers take.

The model runs in float32, one request at a time, with the family's own prompts and pictures: what
is watched is what the engines will see. Takes as much memory as the weights in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mmtrt.native.calibration_set import Sample
from mmtrt.native.component import Component, read_component
from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.errors import NativeError
from mmtrt.native.families import family_of
from mmtrt.native.families.base import Family
from mmtrt.native.frontend import Frontend, Start
from mmtrt.native.graph import Graph
from mmtrt.native.image_file import open_image
from mmtrt.native.steps import Window, pad_left, plain_feed

KEPT_ROWS = 512
"""Input rows of each layer that are kept of all samples together. *Chosen*: llm-awq searches with
128 texts and keeps 512 tokens; more rows cost memory and search time in proportion."""


@dataclass(kw_only=True)
class LayerInput:
    """What the linear layers of one group take: they share their input. K: its width."""

    modules: tuple[str, ...]
    rows: list[Any] = field(default_factory=list)
    """Some of the rows, float32 ``[n, K]`` each."""
    largest: Any = None
    """Of each channel the largest absolute value of all rows, float32 ``[K]``."""

    def kept(self) -> Any:
        """Return the kept rows as one array, float32 ``[n, K]``."""
        import numpy as np

        return np.concatenate(self.rows)


class Watcher:
    """Notes the inputs of named linear modules while their model runs."""

    def __init__(self, model: torch.nn.Module, names: Mapping[str, str], samples: int) -> None:
        """Watch modules of a model, path -> name, in as many runs as there are samples."""
        self._each = -(-KEPT_ROWS // samples)
        self._seen: dict[int, tuple[torch.Tensor, list[str]]] = {}
        self._inputs: dict[tuple[str, ...], LayerInput] = {}
        for path, name in names.items():
            model.get_submodule(path).register_forward_pre_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            # The tensor is kept, so that no other one of this run can have its id.
            self._seen.setdefault(id(given[0]), (given[0], []))[1].append(name)

        return note

    def end_run(self) -> None:
        """Take over what the layers saw in one run."""
        for tensor, names in self._seen.values():
            rows = tensor.detach().reshape(-1, tensor.shape[-1])
            group = self._inputs.setdefault(tuple(names), LayerInput(modules=tuple(names)))
            step = max(1, len(rows) // self._each)
            group.rows.append(rows[::step][: self._each].clone().numpy())
            largest = rows.abs().amax(dim=0).numpy()
            group.largest = largest if group.largest is None else largest.clip(group.largest)
        self._seen = {}

    def inputs(self) -> list[LayerInput]:
        """Return what was seen, in the order of the layers."""
        return list(self._inputs.values())


def calibrate(
    checkpoint_dir: Path, model_dir: Path, samples: Sequence[Sample], modules: Sequence[str]
) -> list[LayerInput]:
    """Return the inputs of a language model's linear modules, by groups that share theirs.

    Args:
        checkpoint_dir: holds ``llm`` and ``vision`` as ``convert`` writes them.
        model_dir: the model's tokenizer and processor.
        samples: what to run it on.
        modules: paths of linear modules in the checkpoint.

    Raises:
        NativeError: RUN21x, if the model cannot take a sample; ART2xx or MDL2xx, if the checkpoint
            cannot be used.
    """
    llm = read_component(checkpoint_dir / "llm", "llm")
    vision = read_component(checkpoint_dir / "vision", "vision")
    family = family_of(llm.family)
    frontend = family.frontend(model_dir, _as_engine(llm), _as_engine(vision))
    starts = list(_starts(family, frontend, vision, checkpoint_dir, samples))
    longest = max(len(start.prompts[0]) for start in starts)
    graph = family.graph(llm, checkpoint_dir / "llm", longest)
    watcher = Watcher(graph.module, _paths_in(graph.module, modules), len(starts))
    with torch.no_grad():
        for start in starts:
            graph.module(*_arguments(graph, _given(start, longest, llm.hidden_size)))
            watcher.end_run()
    return watcher.inputs()


def _starts(
    family: Family,
    frontend: Frontend,
    vision: Component,
    checkpoint_dir: Path,
    samples: Sequence[Sample],
) -> Iterator[Start]:
    """Yield each sample as the language model begins with it."""
    encoder = family.graph(vision, checkpoint_dir / "vision", 0)
    for sample in samples:
        prompt = frontend.prompt(sample.text, len(sample.images))
        if sample.answer:
            # Of the same kind, which decides about special tokens.
            prompt = type(prompt)(f"{prompt.rstrip()} {sample.answer}")
        pictures = [open_image(str(path)) for path in sample.images]
        prepared = frontend.prepare([prompt], [pictures])
        features = None
        if prepared.pixels:
            given = {name: torch.as_tensor(value) for name, value in prepared.pixels.items()}
            with torch.no_grad():
                outputs = pytree.tree_leaves(encoder.module(*_arguments(encoder, given)))
            features = {n: o.numpy() for n, o in zip(encoder.output_names, outputs)}
        yield frontend.start(prepared, features, _NoEngines())


class _NoEngines:
    """Stands for engines: a decoder that is calibrated has no text encoder."""

    def encode_prompts(self, prompts: Sequence[Sequence[int]], table: Any) -> tuple[Any, Any]:
        raise NativeError("a model with a text encoder cannot be calibrated", code="QNT203")


def _given(start: Start, max_seq_len: int, hidden_size: int) -> dict[str, Any]:
    """Return the inputs of the whole prompt by name, as ``EngineSession`` feeds them."""
    import numpy as np

    length = len(start.prompts[0])
    ids, shown = pad_left(start.prompts, length)
    mask: Any = np.ones((1, max_seq_len), dtype=np.bool_)
    mask[:, :length] = shown
    window = Window(ids=ids, mask=mask, lengths=np.zeros(1, dtype=np.int64), start=0)
    table = start.table if start.table is not None else np.zeros((1, hidden_size), np.float32)
    given = {
        "ids": ids,
        "start": np.zeros(1, dtype=np.int64),
        "kv_mask": mask,
        "table": np.ascontiguousarray(table, dtype=np.float32),
        **(start.feed or plain_feed)(window),
    }
    return {name: torch.as_tensor(value) for name, value in given.items()}


def _arguments(graph: Graph, given: Mapping[str, torch.Tensor]) -> Any:
    """Return a graph's arguments; what is not given are caches, empty and for one request."""
    flat, shape = pytree.tree_flatten(graph.args)
    named = zip(graph.input_names, flat, strict=True)
    return pytree.tree_unflatten([given.get(n, torch.zeros_like(x[:1])) for n, x in named], shape)


def _paths_in(module: torch.nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Return path in a graph's module -> name in the checkpoint, for linear modules of its layers.

    What stands before ``layers`` differs; a language model has only one stack of them.
    """
    wanted = {_in_layers(name): name for name in names}
    found = {
        path: wanted[tail]
        for path, _ in module.named_modules()
        if (tail := _in_layers(path)) in wanted
    }
    if len(found) != len(names) or len(set(found.values())) != len(names):
        absent = sorted(set(names) - set(found.values()))
        raise NativeError(
            f"the model does not run {(absent or list(names))[0]} as the checkpoint has it",
            code="QNT203",
            fix="use quant=int4_wo or int8_wo, which need no calibration",
        )
    return found


def _in_layers(path: str) -> str:
    return path.rpartition("layers.")[2]


def _as_engine(component: Component) -> EngineConfig:
    """Return what a frontend asks of an engine; there are none before the build."""
    return EngineConfig(
        family=component.family,
        component=component.component,
        engine="onnxruntime",
        ties=None,
        limits={},
        hidden_size=component.hidden_size,
        vocab_size=component.vocab_size,
        num_visual_features=component.num_visual_features,
        image_size=component.image_size,
        special_tokens=component.special_tokens,
        inputs=(),
    )
