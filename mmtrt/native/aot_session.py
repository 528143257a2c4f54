"""Run the packages of ``aot_build``: prompts to logits to tokens, without host round trips.

On a GPU a decode step is captured as a CUDA graph for each batch size: the package's call, and the
bookkeeping after it, all on fixed buffers. Greedy answers need the host only now and then, to see
whether every request has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from mmtrt.native.aot_config import AotConfig, read_aot_config, weights_of
from mmtrt.native.aot_llm import CachePlan
from mmtrt.native.aot_package import load_package
from mmtrt.native.errors import NativeError
from mmtrt.native.generation import Generation, as_seen, check_finite, write
from mmtrt.native.limits import LlmLimits, RequestSize, check_request
from mmtrt.native.positions import Positions
from mmtrt.native.rank_group import RankGroup, join_group
from mmtrt.native.sampling import Sampling

_CHECK_EVERY = 32
"""Greedy steps on a GPU between two looks at whether all requests have ended."""
_SPAN = 64
"""Granularity of the places that a step on a CPU looks at."""


class AotSession:
    """The packages of one directory, their buffers, and at most one running batch."""

    def __init__(
        self, directory: Path, *, weights: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Load packages and weights.

        Args:
            directory: what ``build_aot_llm`` wrote.
            weights: tensors to use in place of the weights file, on the packages' device.

        Raises:
            NativeError: ART203, if this machine cannot run the packages or a file is missing;
                PAR204, if they are for several ranks and this process is none of them.
        """
        self.config: AotConfig = read_aot_config(directory)
        config = self.config
        # Before anything is loaded: packages that exchange something look the group up.
        self.group: RankGroup | None = None
        if config.ranks > 1:
            self.group = join_group(config.ranks, config.device)
        self.limits: LlmLimits = config.limits
        self.device = torch.device(config.device)
        self._dtype: torch.dtype = getattr(torch, config.dtype)
        started = perf_counter()
        weights_file = weights_of(self.group.rank if self.group else 0, config.ranks)
        self._weights = dict(weights or _read_weights(directory / weights_file, config.device))
        self._packages = {
            name: load_package(directory / f"{name}.pt2", self._weights) for name in config.packages
        }
        plan = CachePlan(config.layers, config.kv_heads, self.limits.max_seq_len, config.head_size)
        batch = self.limits.max_batch_size
        self._keys = plan.zeros(batch, dtype=self._dtype, device=self.device)
        self._values = plan.zeros(batch, dtype=self._dtype, device=self.device)
        self._ids = self._zeros(batch)
        self._lengths = self._zeros(batch)
        self._shifts = self._zeros(batch, config.position_axes)
        self._history = self._zeros(batch, self.limits.max_seq_len)
        self._sums = torch.zeros((batch, self.limits.max_seq_len), device=self.device)
        """Of the logits of each step: finite where all of them are."""
        self._step = self._zeros(1)
        self._places = torch.arange(self.limits.max_seq_len, device=self.device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self._batch = 0
        self._end = 0
        self.load_ms = (perf_counter() - started) * 1e3

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        new_tokens: int = 1,
        positions: Positions | None = None,
    ) -> torch.Tensor:
        """Start a batch and return the logits of its first new tokens, float32 ``[B, V]``.

        Args:
            prompts: ids of each request, unpadded; ``vocab_size + row`` is a row of ``table``.
            table: ``[P, H]`` of any floating type; may be left out when no id addresses it.
            new_tokens: how many tokens will be asked for; checked, not generated.
            positions: where the packages' positions have axes; those of mere texts if left out.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded; RUN212, if an id is beyond the
                table or a prompt is empty.
        """
        config = self.config
        self._check(prompts, table, new_tokens)
        if table is None:
            features = torch.zeros((1, config.hidden_size), dtype=self._dtype, device=self.device)
        else:
            features = torch.as_tensor(table).to(self.device, self._dtype).contiguous()
        longest = max(map(len, prompts))
        # Graphs are compiled for two tokens and more; padding at the right changes nothing.
        width = max(longest, 2)
        padded = [[*prompt, *[0] * (width - len(prompt))] for prompt in prompts]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        ids = torch.tensor(padded, device=self.device)
        self._batch = batch = len(prompts)
        self._end = longest
        keys, values = self._caches(batch)
        axial = self._placed(width, batch, positions)
        logits, tokens = self._packages["prompt"](ids, lengths, features, keys, values, *axial)
        self._ids[:batch].copy_(tokens)
        self._lengths[:batch].copy_(lengths)
        self._history[:batch, 0].copy_(tokens)
        self._sums[:batch, 0].copy_(logits.sum(dim=1))
        self._step.fill_(1)
        return logits

    def decode(self, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """Add one token to each request and return the logits of the next, float32 ``[B, V]``.

        Args:
            tokens: one for each request; left out, the likeliest ones of the last step.

        Returns:
            A buffer that the next call may overwrite.

        Raises:
            NativeError: RUN204, if the KV cache is full.
        """
        batch = self._batch
        if not batch or (tokens is not None and len(tokens) != batch):
            raise ValueError("decode needs one token for each request of a running batch")
        if self._end >= self.limits.max_seq_len:
            raise NativeError(
                f"the KV cache is full, max_seq_len is {self.limits.max_seq_len}", code="RUN204"
            )
        if tokens is not None:
            if not all(0 <= token < self.config.vocab_size for token in tokens):
                raise NativeError("a token is not in the vocabulary", code="RUN212")
            self._ids[:batch].copy_(torch.tensor(tokens))
        self._end += 1
        if self.device.type != "cuda" or (self.group is not None and not self.group.has_nccl):
            return self._advance(batch)
        if batch not in self._graphs:
            self._capture(batch)
        graph, logits = self._graphs[batch]
        graph.replay()
        return logits

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
        positions: Positions | None = None,
        seen: Sequence[Sequence[int]] | None = None,
    ) -> Generation:
        """Answer a batch of prompts; a request that has ended waits for the others.

        With several ranks only the first is asked; the others follow.

        Greedy answers are chosen on the device, others on the host by each rank alike.
        ``seen`` is as in ``EngineSession.generate``.

        Raises:
            NativeError: RUN201 to RUN206, if a limit is exceeded; RUN222 or RUN223, if logits are
                not finite or the model's generation settings cannot be followed.
        """
        sampling = sampling or Sampling()
        if self.group is not None and self.group.leads:
            self._check(prompts, table, max_new_tokens)
            settings = {"max_new_tokens": max_new_tokens, "sampling": sampling}
            placing = {"positions": positions, "seen": seen}
            self.group.send((prompts, table, {**settings, **placing}))
        self._wait()
        started = perf_counter()
        logits = self.prefill(prompts, table, new_tokens=max_new_tokens, positions=positions)
        self._wait()
        prefill_ms = (perf_counter() - started) * 1e3
        special = self.config.special_tokens
        if sampling.settings:
            return write(
                logits.cpu().numpy(),
                lambda tokens: self.decode(tokens).cpu().numpy().copy(),
                seen=seen or as_seen(prompts, self.config.vocab_size, special.image),
                special=special,
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                keep_logits=keep_logits,
                prefill_ms=prefill_ms,
            )
        kept: list[Any] = [logits.cpu().numpy()] if keep_logits else []
        started = perf_counter()
        answers = self._greedy(max_new_tokens, kept if keep_logits else None)
        decode_ms = (perf_counter() - started) * 1e3
        steps = max(map(len, answers)) - 1
        return Generation(
            token_ids=answers,
            finish_reasons=["eos" if ids[-1] in special.eos else "length" for ids in answers],
            prefill_ms=prefill_ms,
            # Steps are not waited for one by one, so each gets its share of the whole.
            decode_ms=[decode_ms / max(steps, 1)] * steps,
            logits=kept[: steps + 1],
        )

    def follow(self) -> None:
        """Take part in the answers of rank 0, for as long as it runs."""
        assert self.group is not None
        while True:
            try:
                prompts, table, settings = self.group.receive()
            except EOFError:
                return
            self.generate(prompts, table, **settings)

    def _check(self, prompts: Sequence[Sequence[int]], table: Any, new_tokens: int) -> None:
        if not prompts or not all(prompts):
            raise NativeError("a prompt has no tokens", code="RUN212")
        vocab_size = self.config.vocab_size
        check_request(_size_of(prompts, vocab_size, new_tokens), self.limits, None)
        rows = 0 if table is None else len(table)
        highest, lowest = max(map(max, prompts)), min(map(min, prompts))
        if highest >= vocab_size + rows or lowest < 0:
            wrong = lowest if lowest < 0 else highest
            raise NativeError(f"id {wrong} is beyond the prompt table", code="RUN212")

    def _placed(
        self, width: int, batch: int, positions: Positions | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the positions of prompts as graphs take them, and remember those of tokens."""
        axes = self.config.position_axes
        if not axes:
            return ()
        if positions is None:
            self._shifts.zero_()
            places = torch.arange(width, device=self.device)
            return (places.expand(axes, batch, width).contiguous(),)
        placed = self._zeros(axes, batch, width)
        given = torch.as_tensor(positions.prompts)
        placed[..., : given.shape[-1]].copy_(given)
        self._shifts[:batch].copy_(torch.as_tensor(positions.shifts))
        return (placed,)

    def _greedy(self, new_tokens: int, kept: list[Any] | None) -> list[list[int]]:
        eos = self.config.special_tokens.eos
        every = _CHECK_EVERY if self.device.type == "cuda" else 1
        for step in range(1, new_tokens):
            if (step - 1) % every == 0 and eos:
                answers = self._answers(step)
                if all(ids[-1] in eos for ids in answers):
                    return answers
            logits = self.decode()
            if kept is not None:
                kept.append(logits.cpu().numpy().copy())
        return self._answers(new_tokens)

    def _answers(self, steps: int) -> list[list[int]]:
        """Return the tokens so far, each request's up to and including the one that ended it.

        Raises:
            NativeError: RUN222, if the logits of one of them are not finite.
        """
        eos = self.config.special_tokens.eos
        answers = []
        for ids in self._history[: self._batch, :steps].tolist():
            ends = [place for place, id_ in enumerate(ids) if id_ in eos]
            answers.append(ids[: ends[0] + 1] if ends else ids)
        broken = ~self._sums[: self._batch, :steps].isfinite()
        if broken.any():
            for step, sums in enumerate(self._sums[: self._batch, :steps].T.tolist()):
                check_finite(sums, [step >= len(answer) for answer in answers], step)
        return answers

    def _advance(self, batch: int) -> torch.Tensor:
        """Run one decode step on the buffers of the first ``batch`` requests."""
        name = "token_1" if batch == 1 and "token_1" in self._packages else "token"
        places = self._places
        if self.device.type != "cuda":
            places = places[: -(-self._end // _SPAN) * _SPAN]
        ids, lengths = self._ids[:batch], self._lengths[:batch]
        axial = (self._shifts[:batch],) if self.config.position_axes else ()
        logits, tokens = self._packages[name](ids, lengths, places, *self._caches(batch), *axial)
        ids.copy_(tokens)
        lengths.add_(1)
        self._history[:batch].index_copy_(1, self._step, tokens[:, None])
        self._sums[:batch].index_copy_(1, self._step, logits.sum(dim=1, keepdim=True))
        self._step.add_(1)
        return logits

    def _capture(self, batch: int) -> None:
        """Capture ``_advance``; the buffers are as before afterwards."""
        state = (self._ids, self._lengths, self._history, self._sums, self._step)
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # What a warm-up step leaves in the cache, the first real step overwrites.
            for _ in range(2):
                self._advance(batch)
                for tensor, saved in zip(state, before):
                    tensor.copy_(saved)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._advance(batch)
        self._graphs[batch] = (graph, logits)

    def _caches(self, batch: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        # The first requests' part of a buffer is contiguous, which packages silently rely on.
        keys, values = ([each[:batch] for each in side] for side in (self._keys, self._values))
        return keys, values

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _read_weights(path: Path, device: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    if not path.is_file():
        raise NativeError(f"{path}: no such file", code="ART203")
    # To safetensors "cuda" is the first GPU, whichever is in use.
    place = f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device
    weights = load_file(path, device=place)
    weights.setdefault("decoder.head", weights["decoder.embed"])
    return weights


def _size_of(prompts: Sequence[Sequence[int]], vocab_size: int, new_tokens: int) -> RequestSize:
    return RequestSize(
        batch=len(prompts),
        input_len=max(map(len, prompts)),
        new_tokens=new_tokens,
        visual_features=max(sum(id_ >= vocab_size for id_ in ids) for ids in prompts),
        images=0,
    )
