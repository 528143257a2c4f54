"""Run the two engines with ONNX Runtime: images to features, prompts to logits, step by step.

Knows ids, tables and caches; text and image files are ``multimodal_session``'s part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from mmtrt.native.engine_config import EngineConfig, read_engine_config
from mmtrt.native.errors import NativeError
from mmtrt.native.limits import LlmLimits, RequestSize, check_request
from mmtrt.native.onnx_export import MODEL_FILE
from mmtrt.native.sampling import Sampler, Sampling

_LOG_ERRORS = 3


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What ``EngineSession.generate`` returns."""

    token_ids: list[list[int]]
    """New tokens of each request, up to and including the one that ended it."""
    finish_reasons: list[str]
    """``eos``, or ``length`` where ``max_new_tokens`` came first."""
    prefill_ms: float
    decode_ms: list[float]
    """Wall time of each decode step."""
    logits: list[Any]
    """float32 ``[B, V]`` for each step; empty unless asked for."""


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


class EngineSession:
    """The engines of one directory, and at most one running batch."""

    def __init__(self, engine_dir: Path) -> None:
        """Read both configurations; the graphs are loaded by ``load``.

        Raises:
            NativeError: ART203, if ``llm/`` or ``vision/`` is missing or does not fit the other.
        """
        self._directory = engine_dir
        self.llm: EngineConfig = read_engine_config(engine_dir / "llm", "llm")
        self.vision: EngineConfig = read_engine_config(engine_dir / "vision", "vision")
        for name in ("family", "hidden_size", "vocab_size", "num_visual_features"):
            ours, theirs = getattr(self.llm, name), getattr(self.vision, name)
            if ours != theirs:
                raise NativeError(
                    f"{engine_dir}: {name} is {ours} in llm/ and {theirs} in vision/",
                    code="ART203",
                    fix="build both engines from the same checkpoint",
                )
        self.limits = LlmLimits(**self.llm.limits)
        self.vision_max_batch_size: int = self.vision.limits["max_batch_size"]
        self._inputs = {spec["name"]: spec for spec in self.llm.inputs}
        self._cache_names = [name for name in self._inputs if name.startswith(("keys_", "values_"))]
        self.load_ms = 0.0
        """Wall time spent on loading graphs so far."""
        self._graphs: dict[str, Any] = {}
        self._running: _Running | None = None

    def load(self, component: str) -> None:
        """Load a graph, once; ``encode_images`` and ``prefill`` do so by themselves.

        Raises:
            NativeError: ART203, if ONNX Runtime cannot load it.
        """
        if component in self._graphs:
            return
        started = perf_counter()
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as status

        options = ort.SessionOptions()
        options.log_severity_level = _LOG_ERRORS
        path = self._directory / component / MODEL_FILE
        try:
            graph = ort.InferenceSession(
                path, sess_options=options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime's errors have no common base class but Exception.
        except (
            status.Fail,
            status.InvalidArgument,
            status.InvalidGraph,
            status.InvalidProtobuf,
            status.NotImplemented,
        ) as error:
            raise NativeError(
                f"{path}: onnxruntime {ort.__version__} cannot load the graph: {error}",
                code="ART203",
                fix=f"build the {component} engine again, with the versions installed here",
            ) from error
        self._graphs[component] = graph
        self.load_ms += _ms_since(started)

    def encode_images(self, pixels: Any) -> Any:
        """Return the visual features, float32 ``[N, rows, H]``, of pixels ``[N, 3, h, w]``.

        Raises:
            NativeError: RUN202, if N exceeds the vision engine's ``max_batch_size``.
        """
        check_request(
            RequestSize(batch=1, input_len=0, new_tokens=0, visual_features=0, images=len(pixels)),
            self.limits,
            self.vision_max_batch_size,
        )
        self.load("vision")
        return self._graphs["vision"].run(["features"], {"pixels": pixels})[0]

    def size_of(
        self, prompts: Sequence[Sequence[int]], *, new_tokens: int, images: int
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
        )

    def prefill(
        self, prompts: Sequence[Sequence[int]], table: Any = None, *, new_tokens: int = 1
    ) -> Any:
        """Start a batch and return the logits of its first new tokens, float32 ``[B, V]``.

        Args:
            prompts: ids of each request, unpadded; ``vocab_size + row`` is a row of ``table``.
            table: float32 ``[P, H]``; may be left out when no id addresses it.
            new_tokens: how many tokens will be asked for; checked, not generated.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded.
        """
        import numpy as np

        if not prompts or not all(prompts):
            raise NativeError("a prompt has no tokens", code="RUN212")
        size = self.size_of(prompts, new_tokens=new_tokens, images=0)
        check_request(size, self.limits, None)
        if table is None:
            table = np.zeros((1, self.llm.hidden_size), dtype=np.float32)
        highest = max(max(ids) for ids in prompts)
        if highest >= self.llm.vocab_size + len(table):
            raise NativeError(f"id {highest} is beyond the prompt table", code="RUN212")
        self.load("llm")
        length = size.input_len
        ids: Any = np.zeros((size.batch, length), dtype=np.int64)
        mask: Any = np.ones((size.batch, self.limits.max_seq_len), dtype=np.bool_)
        for row, prompt in enumerate(prompts):
            padding = length - len(prompt)
            ids[row, padding:] = prompt
            mask[row, :padding] = False
        positions = np.maximum(np.cumsum(mask[:, :length], axis=1) - 1, 0)
        self._running = _Running(
            mask=mask,
            lengths=np.array([len(prompt) for prompt in prompts], dtype=np.int64),
            end=0,
            caches={name: self._empty_cache(name, size.batch) for name in self._cache_names},
        )
        return self._step(ids, positions, np.ascontiguousarray(table, dtype=np.float32))

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
        ids = np.array(tokens, dtype=np.int64)[:, None]
        logits = self._step(
            ids, running.lengths[:, None], np.zeros((1, self.llm.hidden_size), np.float32)
        )
        running.lengths += 1
        return logits

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
    ) -> Generation:
        """Answer a batch of prompts; a request that has ended waits for the others.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded.
        """
        vocab_size, special = self.llm.vocab_size, self.llm.special_tokens
        samplers = [Sampler(sampling or Sampling(), row) for row in range(len(prompts))]
        # For the repetition penalty an image is its placeholder, as in transformers.
        seen = [[id_ if id_ < vocab_size else special.image for id_ in ids] for ids in prompts]
        answers: list[list[int]] = [[] for _ in prompts]
        ended = [False for _ in prompts]
        kept: list[Any] = []
        decode_ms: list[float] = []

        check_request(self.size_of(prompts, new_tokens=max_new_tokens, images=0), self.limits, None)
        self.load("llm")
        started = perf_counter()
        logits = self.prefill(prompts, table, new_tokens=max_new_tokens)
        prefill_ms = _ms_since(started)
        for step in range(max_new_tokens):
            if keep_logits:
                kept.append(logits)
            tokens = [sampler.pick(*row) for sampler, *row in zip(samplers, logits, seen)]
            for row, token in enumerate(tokens):
                if not ended[row]:
                    answers[row].append(token)
                    seen[row].append(token)
                    ended[row] = token in special.eos
            if all(ended) or step == max_new_tokens - 1:
                break
            started = perf_counter()
            logits = self.decode(tokens)
            decode_ms.append(_ms_since(started))
        return Generation(
            token_ids=answers,
            finish_reasons=["eos" if is_eos else "length" for is_eos in ended],
            prefill_ms=prefill_ms,
            decode_ms=decode_ms,
            logits=kept,
        )

    def _empty_cache(self, name: str, batch: int) -> Any:
        import numpy as np
        import onnxruntime as ort

        _, *sides = self._inputs[name]["shape"]
        return ort.OrtValue.ortvalue_from_numpy(np.zeros((batch, *sides), dtype=np.float32))

    def _step(self, ids: Any, positions: Any, table: Any) -> Any:
        """Run the graph on new tokens ``[B, S]`` and keep the caches that it returns."""
        import numpy as np

        running = self._running
        assert running is not None  # prefill made it
        binding = self._graphs["llm"].io_binding()
        binding.bind_cpu_input("ids", ids)
        binding.bind_cpu_input("positions", np.ascontiguousarray(positions, dtype=np.int64))
        binding.bind_cpu_input("start", np.array([running.end], dtype=np.int64))
        binding.bind_cpu_input("kv_mask", running.mask)
        binding.bind_cpu_input("table", table)
        binding.bind_output("logits", "cpu")
        for name in self._cache_names:
            binding.bind_ortvalue_input(name, running.caches[name])
            binding.bind_output(f"{name}_out", "cpu")
        self._graphs["llm"].run_with_iobinding(binding)
        logits, *caches = binding.get_outputs()
        running.caches = dict(zip(self._cache_names, caches))
        running.end += ids.shape[1]
        return logits.numpy()


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3
