"""Run the engines with ONNX Runtime: pixels to features, prompts to logits, step by step.

Knows ids, tables and caches; texts and image files are ``multimodal_session``'s part, and what a
family feeds beside ids is its frontend's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.engine_config import EngineConfig
from mmtrt.native.engine_set import EngineSet, read_engines
from mmtrt.native.errors import NativeError
from mmtrt.native.generation import Generation as Generation
from mmtrt.native.generation import as_seen, ms_since, write
from mmtrt.native.limits import LlmLimits, RequestSize, check_request
from mmtrt.native.sampling import Sampling
from mmtrt.native.steps import Feed, Window, pad_left, plain_feed
from mmtrt.native.tensorrt_graphs import graphs_of


@dataclass
class _Running:
    """A batch between its prefill and its last decode step."""

    mask: Any
    """bool ``[B, MAX]``; false where the cache holds padding."""
    lengths: Any
    """int64 ``[B]``: tokens of each request so far, without padding."""
    end: int
    """Filled places of the cache."""
    caches: dict[str, Any]
    """Input name to the value that the last call returned for it; stays in ONNX Runtime's hands."""
    feed: Feed


class EngineSession:
    """The engines of one directory, and at most one running batch."""

    def __init__(self, engine_dir: Path, engines: EngineSet | None = None) -> None:
        """Read the configurations, unless they are given; the graphs are loaded by ``load``.

        Raises:
            NativeError: ART203, if an engine is missing or does not fit the others; ART212, if
                this machine cannot run them.
        """
        engines = engines or read_engines(engine_dir)
        self.llm: EngineConfig = engines.llm
        self.vision: EngineConfig = engines.vision
        self.encoder: EngineConfig | None = engines.encoder
        self.audio: EngineConfig | None = engines.audio
        self.limits: LlmLimits = engines.limits
        self.vision_max_batch_size: int = self.vision.limits["max_batch_size"]
        self._graphs = graphs_of(engines.graphs)
        self._inputs = {spec["name"]: spec for spec in self.llm.inputs}
        self._cache_names = [name for name in self._inputs if name.startswith(("keys_", "values_"))]
        self._running: _Running | None = None

    @property
    def load_ms(self) -> float:
        """Wall time spent on loading graphs so far."""
        return self._graphs.load_ms

    def load(self, component: str) -> None:
        """Load a graph, once; the methods below do so by themselves.

        Raises:
            NativeError: ART203, if ONNX Runtime cannot load it.
        """
        self._graphs.load(component)

    def encode_images(self, pixels: Mapping[str, Any], items: int | None = None) -> dict[str, Any]:
        """Return the vision engine's outputs by name, ``features`` among them.

        Args:
            pixels: the family's pixel tensors by name.
            items: what counts against ``vision.max_batch_size``; the length of ``pixels`` where
                ``None``.

        Raises:
            NativeError: RUN202, if there are more.
        """
        count = len(next(iter(pixels.values()))) if items is None else items
        nothing = RequestSize(batch=1, input_len=0, new_tokens=0, visual_features=0, images=count)
        check_request(nothing, self.limits, self.vision_max_batch_size)
        graph = self._graphs["vision"]
        names = [output.name for output in graph.get_outputs()]
        return dict(zip(names, graph.run(names, dict(pixels))))

    def encode_sound(self, sound: Mapping[str, Any]) -> dict[str, Any]:
        """Return the audio engine's outputs for one sound by name, ``features`` among them."""
        graph = self._graphs["audio"]
        names = [output.name for output in graph.get_outputs()]
        return dict(zip(names, graph.run(names, dict(sound))))

    def encode_prompts(self, prompts: Sequence[Sequence[int]], table: Any) -> tuple[Any, Any]:
        """Run the text encoder; see ``Engines.encode_prompts``."""
        ids, mask = pad_left(prompts, max(len(prompt) for prompt in prompts))
        states = self._graphs["encoder"].run(
            ["states"], {"ids": ids, "kv_mask": mask, "table": self._table(table)}
        )[0]
        return states, mask

    def size_of(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int,
        images: int,
        encoder_len: int = 0,
        start_len: int | None = None,
    ) -> RequestSize:
        """Return what a batch of prompts asks of the engines."""
        vocab_size = self.llm.vocab_size
        return RequestSize(
            batch=len(prompts),
            input_len=max((len(ids) for ids in prompts), default=0),
            new_tokens=new_tokens,
            visual_features=max(
                (sum(id_ >= vocab_size for id_ in ids) for ids in prompts), default=0
            ),
            images=images,
            encoder_len=encoder_len,
            start_len=start_len,
        )

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        new_tokens: int = 1,
        feed: Feed | None = None,
    ) -> Any:
        """Start a batch and return the logits of its first new tokens, float32 ``[B, V]``.

        Args:
            prompts: ids of each request, unpadded; ``vocab_size + row`` is a row of ``table``.
            table: float32 ``[P, H]``; may be left out when no id addresses it.
            new_tokens: how many tokens will be asked for; checked, not generated.
            feed: the engine's inputs beside ids, mask, table and caches; plain positions if
                ``None``.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded.
        """
        import numpy as np

        if not prompts or not all(prompts):
            raise NativeError("a prompt has no tokens", code="RUN212")
        size = self.size_of(prompts, new_tokens=new_tokens, images=0)
        check_request(size, self.limits, None)
        table = self._table(table)
        highest = max(max(ids) for ids in prompts)
        if highest >= self.llm.vocab_size + len(table):
            raise NativeError(f"id {highest} is beyond the prompt table", code="RUN212")
        ids, shown = pad_left(prompts, size.input_len)
        mask: Any = np.ones((size.batch, self.limits.max_seq_len), dtype=np.bool_)
        mask[:, : size.input_len] = shown
        self._graphs.load("llm")
        self._running = _Running(
            mask=mask,
            lengths=np.zeros(size.batch, dtype=np.int64),
            end=0,
            caches={name: self._empty_cache(name, size.batch) for name in self._cache_names},
            feed=feed or plain_feed,
        )
        return self._step(ids, table)

    def decode(self, tokens: Sequence[int]) -> Any:
        """Add one token to each request and return the logits of the next, float32 ``[B, V]``.

        Raises:
            NativeError: RUN204, if the KV cache is full.
        """
        import numpy as np

        running = self._running
        if running is None or len(tokens) != len(running.lengths):
            raise ValueError("decode needs one token for each request of a running batch")
        if running.end >= self.limits.max_seq_len:
            raise NativeError(
                f"the KV cache is full, max_seq_len is {self.limits.max_seq_len}", code="RUN204"
            )
        return self._step(np.array(tokens, dtype=np.int64)[:, None], self._table(None))

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
        feed: Feed | None = None,
        seen: Sequence[Sequence[int]] | None = None,
    ) -> Generation:
        """Answer a batch of prompts; a request that has ended waits for the others.

        ``seen`` are the ids of each prompt as the model's tokenizer gives them, which penalties
        meet; where left out, a row of the table is taken for the image token.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded; RUN222 or RUN223, if logits are
                not finite or the model's generation settings cannot be followed.
        """
        check_request(self.size_of(prompts, new_tokens=max_new_tokens, images=0), self.limits, None)
        self.load("llm")
        started = perf_counter()
        logits = self.prefill(prompts, table, new_tokens=max_new_tokens, feed=feed)
        prefill_ms = ms_since(started)
        vocab_size, special = self.llm.vocab_size, self.llm.special_tokens
        return write(
            logits,
            self.decode,
            seen=seen or as_seen(prompts, vocab_size, special.image),
            special=special,
            max_new_tokens=max_new_tokens,
            sampling=sampling or Sampling(),
            keep_logits=keep_logits,
            prefill_ms=prefill_ms,
        )

    def _table(self, table: Any) -> Any:
        import numpy as np

        if table is None or not len(table):
            return np.zeros((1, self.llm.hidden_size), dtype=np.float32)
        return np.ascontiguousarray(table, dtype=np.float32)

    def _empty_cache(self, name: str, batch: int) -> Any:
        import numpy as np
        import onnxruntime as ort

        _, *sides = self._inputs[name]["shape"]
        return ort.OrtValue.ortvalue_from_numpy(np.zeros((batch, *sides), dtype=np.float32))

    def _step(self, ids: Any, table: Any) -> Any:
        """Run the graph on new tokens ``[B, S]`` and keep the caches that it returns."""
        import numpy as np

        running = self._running
        assert running is not None  # prefill made it
        window = Window(ids=ids, mask=running.mask, lengths=running.lengths, start=running.end)
        given = {
            "ids": ids,
            "start": np.array([running.end], dtype=np.int64),
            "kv_mask": running.mask,
            "table": table,
            **running.feed(window),
        }
        binding = self._graphs["llm"].io_binding()
        kept = {
            name: np.ascontiguousarray(value)
            for name, value in given.items()
            if name in self._inputs
        }
        for name, value in kept.items():
            binding.bind_cpu_input(name, value)
        binding.bind_output("logits", "cpu")
        for name in self._cache_names:
            binding.bind_ortvalue_input(name, running.caches[name])
            binding.bind_output(f"{name}_out", "cpu")
        self._graphs["llm"].run_with_iobinding(binding)
        logits, *caches = binding.get_outputs()
        running.caches = dict(zip(self._cache_names, caches))
        running.lengths = running.lengths + window.shown.sum(axis=1)
        running.end += ids.shape[1]
        return logits.numpy()
