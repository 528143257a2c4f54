"""One stage that is under way: started by the loop, waited for and published by its own thread."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.artifacts.locks import Hold
from mmtrt.artifacts.store import Artifact, KeyLock, Staging, Store
from mmtrt.backends.base import Command
from mmtrt.errors import ArtifactError, MmtrtError, StageFailed
from mmtrt.executor.environment import environment
from mmtrt.executor.facts import facts_of
from mmtrt.executor.tokens import Lease
from mmtrt.plan.assess import document_of
from mmtrt.plan.graph import Graph, Node
from mmtrt.plan.render import Layout, symbolic

if TYPE_CHECKING:
    from mmtrt.executor.runner import Process, Runner


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage's own thread reports to the loop."""

    stage: str
    artifact: Artifact | None
    error: MmtrtError | None
    exit_code: int
    status: str
    peak_rss_bytes: int
    crash: BaseException | None = None
    """A mistake of ours in the stage's thread; the loop raises it."""


@dataclass(kw_only=True)
class Work:
    """Everything that one attempt at a stage holds and knows."""

    node: Node
    plan: Graph
    store: Store
    inputs: Mapping[str, Artifact]
    """Id of each stage that feeds this one -> its output."""
    key: str
    document: dict[str, Any]
    lock: KeyLock
    lease: Lease
    is_forced: bool
    """Whether the output replaces an intact one."""
    started: float
    """Monotonic seconds, like the times below."""
    next_beat: float
    deadline: float | None = None
    attempt: int = 1
    timed_out: bool = False
    argv: list[str] = field(default_factory=list)
    staging: Staging = field(init=False)
    process: Process = field(init=False)
    _pins: list[Hold] = field(default_factory=list)
    """Keep ``cache gc`` off the artifacts that the stage reads."""

    @property
    def command(self) -> Command:
        """The command of the node, which has one."""
        assert self.node.command is not None
        return self.node.command

    def layout(self, out: Path) -> Layout:
        """Return where the command's symbols are, with its output at ``out``."""
        feeds = self.node.feeds.items()
        places = {port: self.inputs[feed].path for port, feed in feeds if feed in self.inputs}
        return Layout(out, places, sys.executable, self.store.side)

    def start(self, runner: Runner) -> None:
        """Open a staging directory and start the process in it.

        Raises:
            ArtifactError: ART120 if the program cannot be started, ART15x if the store cannot be
                written; nothing is left behind.
        """
        from mmtrt.executor.runner import Launch

        node = self.node
        self.staging = self.store.open_staging(
            node.kind, self.key, node.stage.model_name, recorded(self.command)
        )
        try:
            self._pins = [self.store.pin(artifact) for artifact in self.inputs.values()]
            layout = self.layout(self.staging.path)
            work_dir = self._work_dir
            work_dir.mkdir(exist_ok=True)
            self.argv = layout.argv(self.command)
            self.process = runner.start(
                Launch(
                    argv=self.argv,
                    env=environment(self.command, self.lease),
                    cwd=Path(layout.cwd(self.command) or work_dir),
                    stdout=self.staging.stdout,
                    stderr=self.staging.stderr,
                )
            )
        except OSError as error:
            self._give_up()
            raise ArtifactError(
                f"stage {node.id} could not be started: {error.strerror or error}",
                code="ART120",
                why=str(error),
            ) from error
        except BaseException:
            self._give_up()
            raise

    def attend(self, report: Callable[[Outcome], object]) -> None:
        """Wait for the process and publish its output; runs in the stage's own thread."""
        ended = self.process.wait()
        artifact, error, crash = None, None, None
        if not self.timed_out:
            try:
                if self._is_good(ended.exit_code):
                    self._keep_side_files()
                    artifact = self._publish(ended.peak_rss_bytes)
            except MmtrtError as problem:
                error = problem
            except OSError as problem:
                error = ArtifactError(
                    f"the output of stage {self.node.id} could not be stored: {problem.strerror}",
                    code="ART121",
                    why=str(problem),
                    fix="free some space, or set paths.store to a roomier disk",
                )
            except BaseException as problem:  # noqa: BLE001 - a thread that just ends would hang the loop
                crash = problem
        report(
            Outcome(
                self.node.id,
                artifact,
                error,
                ended.exit_code,
                ended.describe(),
                ended.peak_rss_bytes,
                crash,
            )
        )

    @property
    def _work_dir(self) -> Path:
        return self.staging.directory / "work"

    def _is_good(self, exit_code: int) -> bool:
        """Return whether the command did its work; some tell of it in their log alone."""
        if self.command.harvest is None:
            return exit_code == 0
        from mmtrt.executor.harvest import harvest

        logs = (self.staging.stdout, self.staging.stderr)
        return harvest(self.command.harvest, self.node.stage, logs, self.staging.path, exit_code)

    def _keep_side_files(self) -> None:
        """Move what the tool wants to find again next time; two builds may do so at once."""
        for name, side in self.command.keeps.items():
            made, kept = self._work_dir / name, self.store.side / side.path
            if made.is_file():
                kept.parent.mkdir(parents=True, exist_ok=True)
                made.replace(kept)

    def let_go(self) -> None:
        """Release the lock on the key and the pins on the inputs."""
        for pin in self._pins:
            pin.let_go()
        self.lock.release()

    def _give_up(self) -> None:
        for pin in self._pins:
            pin.let_go()
        self.store.abandon(self.staging, None)

    def _publish(self, peak_rss_bytes: int) -> Artifact:
        node, choice = self.node, self.plan.choice_of(self.node)
        for name, path in self.command.outputs.items():
            if not (self.staging.path / path).exists():
                raise StageFailed(
                    f"stage {node.id} ended well but did not write its {name} ({path})",
                    code="ART122",
                )
        changed = self._changed_local()
        if changed:
            raise StageFailed(
                f"{changed} changed while stage {node.id} read it",
                code="ART123",
                why="the output may mix old and new content, so it is not kept",
                fix="run again once the file rests",
            )
        return self.store.publish(
            self.staging,
            key_document=self.document,
            command=recorded(self.command),
            host=choice.host.to_json(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.started, 3),
            peak_rss_bytes=peak_rss_bytes,
            backend=choice.backend.name,
            fake=choice.backend.name == "fake",
            replaces=self.is_forced,
            stage=node.stage.id,
            made=facts_of(self),
            inputs=tuple(self.inputs.values()),
        )

    def _changed_local(self) -> str | None:
        """Return a local file whose content is no longer what the key says."""
        now = document_of(self.node, self.plan, self.store, self.inputs)["inputs"]
        for place in self.node.locals:
            if now[place.symbol()] != self.document["inputs"][place.symbol()]:
                return place.path
        return None


def recorded(command: Command) -> dict[str, Any]:
    """Return a command as manifests keep it: with symbols, so that it means the same anywhere."""
    return {
        "argv": symbolic(command),
        "cwd": None if command.cwd is None else command.cwd.symbol(),
        "env": dict(command.env),
    }
