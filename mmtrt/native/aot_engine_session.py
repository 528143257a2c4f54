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
from mmtrt.native.positions import Positions, positions_of
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
        positions = self._positions(feed, prompts)
        logits = self._llm().prefill(
            prompts, _rows(table), new_tokens=new_tokens, positions=positions
        )
        return logits.cpu().numpy()

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
        seen: Sequence[Sequence[int]] | None = None,
    ) -> Generation:
        """See ``EngineSession.generate``; greedy answers are chosen on the device."""
        check_request(self.size_of(prompts, new_tokens=max_new_tokens, images=0), self.limits, None)
        positions = self._positions(feed, prompts)
        return self._llm().generate(
            prompts,
            _rows(table),
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            keep_logits=keep_logits,
            positions=positions,
            seen=seen,
        )

    def _positions(self, feed: Feed | None, prompts: Sequence[Sequence[int]]) -> Positions | None:
        """Return the positions that a family feeds, where the packages take some.

        Raises:
            NativeError: MDL208, if it feeds what they do not take.
        """
        if feed is None or not all(prompts):
            return None
        takes = any(spec["name"] == "positions" for spec in self.llm.inputs)
        found = positions_of(feed, prompts) if takes else None
        if found is None:
            raise NativeError(
                f"these packages of engine={AOT_ENGINE} do not take what {self.llm.family} feeds",
                code="MDL208",
                why="they take ids, a table of features, and positions in several axes at most",
                fix="build the engines again with engine=onnxruntime",
            )
        return found

    def _llm(self) -> AotSession:
        self.load("llm")
        assert self._packages is not None
        return self._packages


def _rows(table: Any) -> Any:
    return None if table is None or not len(table) else table
