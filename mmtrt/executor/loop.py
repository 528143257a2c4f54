"""The loop: what is ready runs, what the store has is taken, what fails stops what needs it.

One thread decides and starts processes; one thread a stage waits for its process and publishes
the output. Nothing is decided anywhere else.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Artifact, Hit, KeyLock, Store
from mmtrt.config.schema import ExecutorChoice
from mmtrt.errors import HostError, Interrupted, StageFailed
from mmtrt.executor import events
from mmtrt.executor.tails import last_lines, last_progress
from mmtrt.executor.tokens import Lease, Tokens
from mmtrt.executor.work import Outcome, Work
from mmtrt.plan.assess import Verdicts, assess, assess_graph, document_of
from mmtrt.plan.graph import Graph, Node, Plan

if TYPE_CHECKING:
    from mmtrt.executor.runner import Runner

Status = Literal["hit", "done", "failed", "skipped"]

POLL_S = 0.1
"""How often a stage that waits for another process or a lease looks again (*chosen*)."""


RETRY_BASE_S = 2.0
"""Pause before the second attempt of a network stage; it doubles each time (*chosen*)."""


@dataclass(frozen=True)
class StageResult:
    """How one stage went."""

    id: str
    kind: str
    status: Status
    seconds: float = 0.0
    artifact: Path | None = None
    error: StageFailed | None = None
    because: str | None = None
    """Why a stage was skipped."""


class Checked(Protocol):
    """A graph without errors: of one recipe or of a sweep, made by the rules alone."""

    @property
    def plan(self) -> Graph:
        """What may run."""
        ...


@dataclass(frozen=True)
class RunResult:
    """How a run went; ``stages`` are in plan order."""

    stages: tuple[StageResult, ...]
    seconds: float
    artifacts: Mapping[str, Artifact]

    @property
    def failures(self) -> list[StageFailed]:
        """Return the errors of the stages that failed."""
        return [stage.error for stage in self.stages if stage.error is not None]


def execute(
    checked: Checked,
    store: Store,
    listeners: tuple[events.Listener, ...] = (),
    runner: Runner | None = None,
    assessment: Verdicts | None = None,
) -> RunResult:
    """Run what the store lacks.

    Args:
        checked: only what was checked can run, so unchecked work cannot start by accident.
        store: where outputs are looked up and published.
        listeners: called with every event, from this thread.
        runner: where commands run; this machine by default.
        assessment: the verdicts that the user was shown, if any, for the reasons.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after every process group has ended.
        HostError: HST101 if this host can never offer what a stage needs.
        ArtifactError: if the store cannot be written.
    """
    return _Loop(checked, store, listeners, runner, assessment).run()


class _Loop:
    def __init__(
        self,
        checked: Checked,
        store: Store,
        listeners: tuple[events.Listener, ...],
        runner: Runner | None,
        assessment: Verdicts | None,
    ) -> None:
        self._plan = checked.plan
        self._store = store
        self._listeners = listeners
        self._runner = runner
        self._choice: ExecutorChoice = self._plan.executor
        self._tokens = Tokens(self._plan.host, store.root / ".locks", self._choice.jobs)
        self._assessment = assessment or _assessed(self._plan, store)
        self._waiting: dict[str, Node] = {}
        """The nodes that have neither ended nor been started, in plan order."""
        self._ready: dict[str, Node] = {}
        """Those of them whose inputs are there."""
        self._order = {node.id: i for i, node in enumerate(self._plan.nodes)}
        self._missing: dict[str, int] = {}
        """How many inputs of a waiting node are not there yet."""
        self._readers: dict[str, list[Node]] = {}
        self._has_failed = False
        self._made: dict[str, Artifact] = {}
        self._keyed: dict[str, tuple[dict[str, Any], str]] = {}
        """Key document and key of each node whose inputs are there."""
        self._results: dict[str, StageResult] = {}
        self._running: dict[str, Work] = {}
        self._waits: set[str] = set()
        self._retry_at: dict[str, tuple[float, int]] = {}
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        """What the stages' threads tell; ``None`` only wakes the loop."""
        self._signals = 0
        """How often the user asked to stop."""
        self._is_ending = False
        self._swept = False

    def run(self) -> RunResult:
        begun = time.monotonic()
        for node in self._plan.active():
            if lack := self._tokens.lacks(node.command.resources):  # type: ignore[union-attr] # active nodes have one
                raise HostError(f"stage {node.id} cannot run here: {lack}", code="HST101")
            self._line_up(node)
        self._emit(events.RunStarted(list(self._waiting)))
        with self._catching_signals():
            self._run(begun)
        return RunResult(
            tuple(self._results[n.id] for n in self._plan.nodes if n.id in self._results),
            time.monotonic() - begun,
            self._made,
        )

    def _run(self, begun: float) -> None:
        status = "done"
        try:
            while self._waiting or self._running:
                if self._signals:
                    raise KeyboardInterrupt
                if not self._advance() and (self._waiting or self._running):
                    self._await()
            if self._has_failed:
                status = "failed"
        except KeyboardInterrupt:
            status = "interrupted"
            self._stop_all()
            raise Interrupted(
                "stopped; finished stages are kept, unfinished ones left nothing behind",
                code="RUN130",
                fix="run the same command again to go on",
            ) from None
        except BaseException:
            status = "failed"
            self._stop_all()
            raise
        finally:
            self._emit(events.RunEnded(status, time.monotonic() - begun))

    def _emit(self, event: events.Event) -> None:
        for listener in self._listeners:
            listener(event)

    def _line_up(self, node: Node) -> None:
        self._waiting[node.id] = node
        self._missing[node.id] = len(node.needs)
        for need in node.needs:
            self._readers.setdefault(need, []).append(node)
        if not node.needs:
            self._ready[node.id] = node

    def _advance(self) -> bool:
        """Finish hits and start what is ready; return whether anything moved.

        Plan order comes first, so that a sweep finishes its points one after the other. What a hit
        makes ready is looked at in the next round, so a round ends.
        """
        if self._is_stopping():
            return False
        moved = False
        for node in sorted(self._ready.values(), key=lambda each: self._order[each.id]):
            if node.id in self._keyed and self._tokens.is_full:
                continue
            if self._offer(node):
                self._ready.pop(node.id, None)
                self._waiting.pop(node.id, None)
                moved = True
        return moved

    def _is_stopping(self) -> bool:
        return self._has_failed and not self._choice.keep_going

    def _keep(self, node: Node, result: StageResult, artifact: Artifact) -> None:
        """Note the output of a node, and what can run now that it is there."""
        self._made[node.id] = artifact
        self._results[node.id] = result
        for reader in self._readers.get(node.id, ()):
            self._missing[reader.id] -= 1
            if not self._missing[reader.id] and reader.id in self._waiting:
                self._ready[reader.id] = reader

    def _leave_blocked(self, failed: Node) -> None:
        """Give up on what can no longer run: all that waits, unless the user wants to go on."""
        self._has_failed = True
        blocked = [failed]
        while blocked:
            source = blocked.pop()
            for reader in self._readers.get(source.id, ()):
                if reader.id in self._waiting:
                    self._leave(reader, f"{source.id} did not finish")
                    blocked.append(reader)
        if self._is_stopping():
            for node in list(self._waiting.values()):
                self._leave(node, "another stage failed")

    def _leave(self, node: Node, because: str) -> None:
        self._waiting.pop(node.id, None)
        self._ready.pop(node.id, None)
        self._results[node.id] = StageResult(node.id, node.kind, "skipped", because=because)
        self._emit(events.StageLeft(node.id, because))

    def _offer(self, node: Node) -> bool:
        """Take a node's output from the store or start it; return False if it has to wait.

        The inputs of a node that is offered do not change any more, so its key is computed once,
        and a node that waits for a free place costs nothing.
        """
        retry_at, attempt = self._retry_at.get(node.id, (0.0, 1))
        if time.monotonic() < retry_at:
            return False
        forced = self._is_forced(node)
        if node.id not in self._keyed:
            self._keyed[node.id] = self._key(node)
            if not forced and self._take_hit(node):
                return True
        assert node.command is not None
        resources = node.command.resources
        # On a GPU the lease keeps others away.
        is_alone = node.stage.MEASURES and not resources.gpus
        lease = self._tokens.take(resources, is_alone)
        if lease is None:
            return False
        lock = self._store.lock(node.kind, self._keyed[node.id][1])
        try:
            if not lock.try_acquire():
                holder = lock.holder() or {}
                self._note_wait(node, f"process {holder.get('pid', '?')} builds the same output")
                self._tokens.give_back(lease)
                return False
            # Another process may have published it since the store was asked.
            if not forced and self._take_hit(node):
                lock.release()
                self._tokens.give_back(lease)
                return True
            self._start(node, lock, lease, attempt)
        except BaseException:
            self._tokens.give_back(lease)
            lock.release()
            raise
        return True

    def _key(self, node: Node) -> tuple[dict[str, Any], str]:
        """Return a node's key document and key: the plan's own, if it knew every input."""
        state = self._assessment[node.id]
        if state.key is not None and all(self._is_as_planned(need) for need in node.needs):
            return dict(state.document or {}), state.key
        document = document_of(node, self._plan, self._store, self._made)
        return document, key_of(document)

    def _is_as_planned(self, need: str) -> bool:
        known = self._assessment[need].artifact
        return known is not None and known.manifest.digest == self._made[need].manifest.digest

    def _is_forced(self, node: Node) -> bool:
        forced = any(reason.type == "forced" for reason in self._assessment[node.id].reasons)
        return node.stage.RERUNS or forced

    def _note_wait(self, node: Node, for_what: str) -> None:
        if node.id not in self._waits:
            self._waits.add(node.id)
            self._emit(events.StageWaits(node.id, for_what))

    def _take_hit(self, node: Node) -> bool:
        key = self._keyed[node.id][1]
        found = self._store.find(node.kind, key)
        if not isinstance(found, Hit):
            return False
        self._store.mark_used(found.artifact)
        result = StageResult(node.id, node.kind, "hit", 0.0, found.artifact.path)
        self._keep(node, result, found.artifact)
        self._emit(events.StageHit(node.id, node.kind, key, str(found.artifact.path)))
        return True

    def _start(self, node: Node, lock: KeyLock, lease: Lease, attempt: int) -> None:
        from mmtrt.executor.runner import LocalRunner

        if self._runner is None:
            self._runner = LocalRunner()
        if not self._swept:
            self._swept = True
            self._store.sweep()
        document, key = self._keyed[node.id]
        now = time.monotonic()
        timeout = self._choice.stage_timeout_s
        work = Work(
            node=node,
            plan=self._plan,
            store=self._store,
            inputs={feed: self._made[feed] for feed in node.needs},
            key=key,
            document=document,
            lock=lock,
            lease=lease,
            is_forced=self._is_forced(node),
            attempt=attempt,
            started=now,
            deadline=now + timeout if timeout else None,
            next_beat=now + self._choice.heartbeat_s,
        )
        work.start(self._runner)
        self._running[node.id] = work
        reasons = [reason.to_json() for reason in self._assessment[node.id].reasons]
        self._emit(
            events.StageStarted(
                node.id, node.kind, key, work.argv, str(work.staging.stderr), attempt, reasons
            )
        )
        threading.Thread(
            target=work.attend, args=(self._outcomes.put,), name=node.id, daemon=True
        ).start()

    def _await(self) -> None:
        """Sleep until a stage ends, a heartbeat is due or a waiting stage should look again."""
        now = time.monotonic()
        due = [now + POLL_S] if self._waiting else []
        for work in self._running.values():
            due.append(work.next_beat)
            if work.deadline is not None:
                due.append(work.deadline)
        timeout = max(0.0, min(due, default=now + 1.0) - now)
        try:
            if (outcome := self._outcomes.get(timeout=timeout)) is not None:
                self._finish(outcome)
        except queue.Empty:
            self._look_after()

    def _look_after(self) -> None:
        """Send heartbeats and end stages that took too long."""
        now = time.monotonic()
        for work in self._running.values():
            if work.deadline is not None and now >= work.deadline and not work.timed_out:
                work.timed_out = True
                self._end_later(work)
            if now >= work.next_beat:
                work.next_beat = now + self._choice.heartbeat_s
                done, total = last_progress(work.staging.stderr)
                self._emit(
                    events.StageBeats(
                        work.node.id,
                        now - work.started,
                        (last_lines(work.staging.stderr, 1) or [""])[0],
                        done,
                        total,
                    )
                )

    def _end_later(self, work: Work) -> None:
        threading.Thread(target=work.process.end, args=(self._choice.grace_s,), daemon=True).start()

    def _finish(self, outcome: Outcome) -> None:
        work = self._running.pop(outcome.stage)
        node, seconds = work.node, time.monotonic() - work.started
        try:
            if outcome.crash is not None:
                self._store.abandon(work.staging, None)
                raise outcome.crash
            if outcome.artifact is not None:
                path = outcome.artifact.path
                result = StageResult(node.id, node.kind, "done", seconds, path)
                self._keep(node, result, outcome.artifact)
                self._emit(
                    events.StageDone(
                        node.id,
                        node.kind,
                        work.key,
                        seconds,
                        str(path),
                        sum(entry.size for entry in outcome.artifact.manifest.files),
                        outcome.peak_rss_bytes,
                    )
                )
            elif not self._retry(work, outcome):
                self._fail(work, outcome, seconds)
        finally:
            self._release(work)

    def _release(self, work: Work) -> None:
        """Give back everything that a stage held."""
        self._tokens.give_back(work.lease)
        work.let_go()

    def _retry(self, work: Work, outcome: Outcome) -> bool:
        """Put a network stage back in line after a failure that may pass."""
        assert work.node.command is not None
        may_pass = outcome.exit_code in work.node.command.retry_exit_codes
        if not may_pass or work.timed_out or work.attempt > self._choice.network_retries:
            return False
        wait_s = min(RETRY_BASE_S * 2 ** (work.attempt - 1), 30.0)
        self._store.abandon(work.staging, None)
        self._retry_at[work.node.id] = (time.monotonic() + wait_s, work.attempt + 1)
        self._emit(events.StageRetries(work.node.id, work.attempt, wait_s))
        self._waiting[work.node.id] = self._ready[work.node.id] = work.node
        return True

    def _fail(self, work: Work, outcome: Outcome, seconds: float) -> None:
        node = work.node
        assert node.command is not None
        status = outcome.status
        if work.timed_out:
            status = f"timed out after {self._choice.stage_timeout_s:g} s"
        if outcome.error is not None:
            status = outcome.error.message
        tail = last_lines(work.staging.stderr, 15) or last_lines(work.staging.stdout, 15)
        logs = self._store.abandon(work.staging, {"status": status, "exit_code": outcome.exit_code})
        log = logs / "stderr.log" if logs is not None else work.staging.stderr
        again = work.layout(log.parent / node.stage.model_name)
        repeat = shlex.join(again.argv(node.command))
        error = StageFailed(
            f"stage {node.id} failed: {status}",
            code=outcome.error.code if outcome.error else "RUN100",
            why=outcome.error.why if outcome.error else None,
            fix=outcome.error.fix if outcome.error else None,
        )
        self._results[node.id] = StageResult(node.id, node.kind, "failed", seconds, error=error)
        self._emit(events.StageBroke(node.id, node.kind, seconds, status, tail, str(log), repeat))
        self._leave_blocked(node)

    def _stop_all(self) -> None:
        """End every process group, wait for the stages' threads, leave nothing behind."""
        self._is_ending = True
        enders = [
            threading.Thread(target=work.process.end, args=(self._choice.grace_s,))
            for work in self._running.values()
        ]
        for ender in enders:
            ender.start()
        deadline = time.monotonic() + self._choice.grace_s + 5.0
        while self._running and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                outcome = self._outcomes.get(timeout=0.1)
                if outcome is None:
                    continue
                work = self._running.pop(outcome.stage)
                if outcome.artifact is None:
                    self._store.abandon(work.staging, None)
                self._release(work)

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """Note Ctrl-C, SIGTERM and SIGHUP while the loop runs, where signals can be caught.

        The loop ends between two decisions: an exception out of a signal handler can come at any
        place, so that a process is started and not noted, and is lost where Python ignores
        exceptions (a destructor, the garbage collector). Who asks twice does not wait.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            self._outcomes.put(None)
            if self._signals == 2 and not self._is_ending:
                raise KeyboardInterrupt

        before: dict[signal.Signals, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _assessed(graph: Graph, store: Store) -> Verdicts:
    return assess(graph, store) if isinstance(graph, Plan) else assess_graph(graph, store)
