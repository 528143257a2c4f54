"""Run engine directories whose language model is packages of AOTInductor.

The vision engine beside it is a graph of ONNX Runtime or a package, whichever lies there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.native.engine_set import EngineSet, read_engines
from mmtrt.native.errors import NativeError
from mmtrt.native.generation import Generation
from mmtrt.native.limits import check_request
from mmtrt.native.sampling import Sampling
from mmtrt.native.session import EngineSession
from mmtrt.native.steps import Feed
from mmtrt.native.ties import AOT_ENGINE

if TYPE_CHECKING:
    from mmtrt.native.aot_session import AotSession


def open_engines(engine_dir: Path) -> EngineSession:
    """Return the session that can run the engines of a directory, by what their files name.

    Raises:
        NativeError: ART203 or ART212, if they are not complete or this machine cannot run them.
    """
    engines = read_engines(engine_dir)
    return (AotEngineSession if engines.llm.engine == AOT_ENGINE else EngineSession)(
        engine_dir, engines
    )


class AotEngineSession(EngineSession):
    """See ``EngineSession``."""

    def __init__(self, engine_dir: Path, engines: EngineSet | None = None) -> None:
        """See ``EngineSession``."""
        engines = engines or read_engines(engine_dir)
        super().__init__(engine_dir, engines)
        self._directory = engines.directories["llm"]
        self._packages: AotSession | None = None

    @property
    def load_ms(self) -> float:
        """Wall time spent on loading graphs, packages and weights so far."""
        return self._graphs.load_ms + (self._packages.load_ms if self._packages else 0.0)

    def load(self, component: str) -> None:
        """See ``EngineSession.load``."""
        if component != "llm":
            super().load(component)
        elif self._packages is None:
            from mmtrt.native.aot_session import AotSession

            self._packages = AotSession(self._directory)

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        new_tokens: int = 1,
        feed: Feed | None = None,
    ) -> Any:
        """See ``EngineSession.prefill``."""
        _check_feed(feed)
        return self._llm().prefill(prompts, _rows(table), new_tokens=new_tokens).cpu().numpy()

    def decode(self, tokens: Sequence[int]) -> Any:
        """See ``EngineSession.decode``."""
        return self._llm().decode(tokens).cpu().numpy()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        table: Any = None,
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        keep_logits: bool = False,
        feed: Feed | None = None,
        placeholder: int | None = None,
    ) -> Generation:
        """See ``EngineSession.generate``; greedy answers are chosen on the device."""
        sampling = sampling or Sampling()
        if sampling.top_k != 1 or sampling.repetition_penalty != 1.0:
            return super().generate(
                prompts,
                table,
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                keep_logits=keep_logits,
                feed=feed,
                placeholder=placeholder,
            )
        _check_feed(feed)
        check_request(self.size_of(prompts, new_tokens=max_new_tokens, images=0), self.limits, None)
        return self._llm().generate(
            prompts, _rows(table), max_new_tokens=max_new_tokens, keep_logits=keep_logits
        )

    def _llm(self) -> AotSession:
        self.load("llm")
        assert self._packages is not None
        return self._packages


def _rows(table: Any) -> Any:
    return None if table is None or not len(table) else table


def _check_feed(feed: Feed | None) -> None:
    if feed is not None:
        raise NativeError(
            f"engine={AOT_ENGINE} takes ids and a table of features only",
            code="MDL208",
            fix="build the engines again with engine=onnxruntime",
        )
