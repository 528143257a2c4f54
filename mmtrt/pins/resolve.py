"""What moving names stand for: as the lock has it, else the store, else the hub, git or pip."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Artifact, Hit, Store
from mmtrt.backends.base import ENV_LOCK, EXAMPLES_PORT, Choice, Script
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.pins.apply import Pins, asked, pin_of
from mmtrt.pins.ask import Question, ask, unresolved
from mmtrt.pins.cases import contradicts
from mmtrt.pins.describe import Fetch, Needs, describe, name_of, names_of
from mmtrt.pins.entry import Entry, EnvPin, FilePin, GitPin, HubPin, Pin
from mmtrt.plan.graph import Node
from mmtrt.plan.keys import key_document
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env, Stage

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Which pins are asked for anew."""

    everything: bool = False
    names: tuple[str, ...] = ()
    """Stages, repositories, URLs, packages, or ``backend``."""

    def takes(self, *names: str | None) -> bool:
        """Return whether one of these is to be asked for anew."""
        return self.everything or any(name in self.names for name in names)


@dataclass(frozen=True, slots=True)
class Known:
    """What is locked of a recipe so far."""

    own: Entry | None = None
    """The entry of the choice at hand; it says what ``auto`` means."""
    others: Sequence[Entry] = ()
    """Entries of other choices: one name stands for one thing in all of them."""
    renewed: Sequence[Entry] = ()
    """Those that were asked for just now, which no upgrade asks for again."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An entry, and what is to be said of it."""

    name: str
    entry: Entry
    notes: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    """What can be upgraded."""
    unknown: tuple[str, ...] = ()
    """Of the names to upgrade, those that nothing here has."""


def entry_of(
    recipe: Recipe,
    host: HostInfo,
    store: Store,
    known: Known = Known(),
    upgrade: Upgrade = Upgrade(),
    tell: Callable[[str], None] = lambda text: None,
) -> Resolved:
    """Return the entry of one choice.

    Args:
        recipe: the resolved recipe.
        host: the machine.
        store: what was downloaded, cloned or installed under the same names tells what they were.
        known: what is locked already, and stays where the recipe still asks for the same.
        upgrade: which of them do not, and are asked for anew, past the store.
        tell: called with a line before something is asked for, which may take a while.

    Raises:
        HostError: LCK104, if a name cannot be resolved because nothing outside can be reached.
        RecipeError: LCK104, if a name stands for nothing.
        PlanError: as :func:`mmtrt.plan.build.make_plan`.
    """
    old = known.own
    pins = None if old is None or upgrade.takes("backend") else Pins(old, "the old lock")
    needs = describe(recipe, host, store, pins)
    notes: list[str] = []
    names_here = {"backend"}
    found: dict[str, Pin] = {}
    questions: dict[str, Question] = {}
    for fetch in needs.fetches:
        names = [fetch.stage.id, *names_of(fetch.stage), *_packages(fetch, old)]
        names_here.update(names)
        fresh = _first(_kept(fetch, entry, needs.facts) for entry in known.renewed)
        pin = (
            fresh
            or _kept(fetch, old, needs.facts)
            or _first(_kept(fetch, entry, needs.facts) for entry in known.others)
        )
        again = fresh is None and upgrade.takes(*names) and not _is_settled(fetch, pin)
        pin = None if again else pin
        if pin is None and not (again and fetch.is_moving):
            pin = _still(fetch) or _stored(fetch, needs.choice, store)
        if pin is not None:
            found[fetch.stage.id] = pin
        else:
            questions[fetch.stage.id] = _question(fetch, needs, store)
    if questions:
        tell(f"asking what {', '.join(questions)} of {needs.name} stand for")
        found |= _answered(questions, needs, notes)
    entry = replace(
        needs.facts,
        downloads={k: pin for k, pin in found.items() if isinstance(pin, HubPin)},
        clones={k: pin for k, pin in found.items() if isinstance(pin, GitPin)},
        environments={k: pin for k, pin in found.items() if isinstance(pin, EnvPin)},
    )
    if pins is not None and pins.backend and recipe.settings.backend.name == "auto":
        assert old is not None
        entry = replace(entry, backend=replace(entry.backend, because=old.backend.because))
    unknown = tuple(name for name in upgrade.names if name not in names_here)
    return Resolved(name_of(recipe), entry, tuple(notes), frozenset(names_here), unknown)


def _is_settled(fetch: Fetch, pin: Pin | None) -> bool:
    """Return whether nothing can be told of a stage that the lock does not say already."""
    return isinstance(pin, HubPin) and bool(pin.files) and _is_commit(fetch.stage)


def _packages(fetch: Fetch, old: Entry | None) -> list[str]:
    """Return the packages that an environment was locked to; to renew one is to renew all."""
    pin = None if old is None else pin_of(old, fetch.stage)
    lines = pin.packages if isinstance(pin, EnvPin) else []
    return [re.split(r"==| @ ", line, maxsplit=1)[0] for line in lines]


def _first(pins: Iterable[Pin | None]) -> Pin | None:
    return next((pin for pin in pins if pin is not None), None)


def _kept(fetch: Fetch, old: Entry | None, facts: Entry) -> Pin | None:
    """Return what an entry says of a name.

    Args:
        fetch: the name.
        old: the entry.
        facts: of the choice at hand; an environment is taken over from the same tools only, as
            its requirements may stand in a file of theirs.
    """
    pin = None if old is None else pin_of(old, fetch.stage)
    if old is None or pin is None or asked(pin, fetch.stage):
        return None
    if isinstance(pin, EnvPin) and not _has_same_tools(old, facts):
        return None
    if fetch.is_moving and not isinstance(pin, EnvPin) and not COMMIT.fullmatch(pin.commit):
        return None  # of a stand-in, whose names never move
    return pin


def _has_same_tools(one: Entry, other: Entry) -> bool:
    return one.backend.name == other.backend.name and not contradicts(one, other, "tools")


def _still(fetch: Fetch) -> Pin | None:
    """Return the pin of what cannot move: a stand-in, or code named by its commit."""
    stage = fetch.stage
    if isinstance(stage, Download) and not fetch.is_moving:
        return _hub_pin(stage, str(stage.revision), [])
    if isinstance(stage, Clone) and (not fetch.is_moving or COMMIT.fullmatch(stage.revision)):
        return _git_pin(stage, stage.revision)
    return None


def _stored(fetch: Fetch, choice: Choice, store: Store) -> Pin | None:
    """Return what the store has under the name that the recipe says."""
    stage = fetch.stage
    artifact = _artifact(fetch, choice, store)
    if artifact is None:
        return None
    if isinstance(stage, Env):
        lines = (artifact.path / ENV_LOCK).read_text(encoding="utf-8").splitlines()
        return _env_pin(stage, lines)
    said = artifact.logs.stdout.read_text(encoding="utf-8", errors="replace")
    commit = re.search(r"\bcommit ([0-9a-f]{40})\b", said)
    if commit is None:
        return None
    if isinstance(stage, Clone):
        return _git_pin(stage, commit[1])
    files = [
        FilePin(name=file.path, size=file.size, digest=f"blake3:{file.digest}")
        for file in artifact.manifest.files
    ]
    return _hub_pin(stage, commit[1], files)


def _artifact(fetch: Fetch, choice: Choice, store: Store) -> Artifact | None:
    node = Node(fetch.stage, fetch.command)
    if fetch.command.places():
        return None
    found = store.find(node.kind, key_of(key_document(node, choice, {})))
    return found.artifact if isinstance(found, Hit) else None


def _hub_pin(stage: Download, commit: str, files: list[FilePin]) -> HubPin:
    return HubPin(
        repo=str(stage.repo_id),
        revision=str(stage.revision),
        commit=commit,
        include=list(stage.include),
        exclude=list(stage.exclude),
        files=sorted(files, key=lambda file: file.name),
    )


def _git_pin(stage: Clone, commit: str) -> GitPin:
    # A lock is kept with the code: no credential of a URL goes into it.
    return GitPin(url=FORMS.text(stage.url), revision=stage.revision, commit=commit)


def _env_pin(stage: Env, packages: list[str]) -> EnvPin:
    return EnvPin(requirements=FORMS.tree(stage.requirements), packages=FORMS.tree(packages))


def _question(fetch: Fetch, needs: Needs, store: Store) -> Question:
    stage = fetch.stage
    if isinstance(stage, Download):
        return {
            "kind": "hub",
            "repo": stage.repo_id,
            "revision": stage.revision,
            "include": stage.include,
            "exclude": stage.exclude,
            "allow_pickle": stage.allow_pickle,
        }
    if isinstance(stage, Clone):
        return {"kind": "git", "url": stage.url, "revision": stage.revision}
    files = [word for word in fetch.command.argv if isinstance(word, Script)]
    names = {f"{{examples}}/{file.path}" for file in files}
    return {
        "kind": "pip",
        "requirements": [each for each in stage.requirements if each not in names],
        "files": [f"{file.root or 'examples'}/{file.path}" for file in files],
        "repository": _examples(needs, store) if any(file.root is None for file in files) else None,
    }


def _examples(needs: Needs, store: Store) -> dict[str, str] | None:
    """Return the repository of the example scripts, and where a copy lies that the store has."""
    for fetch in needs.fetches:
        stage = fetch.stage
        if isinstance(stage, Clone) and stage.id == EXAMPLES_PORT:
            artifact = _artifact(fetch, needs.choice, store)
            place = {} if artifact is None else {"directory": str(artifact.path)}
            return {"url": stage.url, "revision": stage.revision, **place}
    return None


def _answered(questions: Mapping[str, Question], needs: Needs, notes: list[str]) -> dict[str, Pin]:
    """Return the pins that the hub, git and pip tell.

    Raises:
        HostError: LCK104.
        RecipeError: LCK104.
    """
    stages = {fetch.stage.id: fetch.stage for fetch in needs.fetches}
    found: dict[str, Pin] = {}
    failures: dict[str, Mapping[str, Any]] = {}
    for name, answer in ask(questions).items():
        stage, error = stages[name], answer.get("error")
        if error and error["is_temporary"] and _is_commit(stage):
            # The recipe itself says the commit, which is as good a pin as there is.
            notes.append(f"digests of {name}'s files are not known: {error['message']}")
            answer = {"commit": questions[name]["revision"], "files": []}
        elif error:
            failures[name] = error
            continue
        if isinstance(stage, Download):
            files = [FilePin(**row) for row in answer["files"]]
            found[name] = _hub_pin(stage, answer["commit"], files)
        elif isinstance(stage, Clone):
            found[name] = _git_pin(stage, answer["commit"])
        else:
            found[name] = _env_pin(stage, answer["packages"])
    if failures:
        raise unresolved(needs.name, questions, failures)
    return found


def _is_commit(stage: Stage) -> bool:
    return isinstance(stage, Download) and COMMIT.fullmatch(stage.revision or "") is not None
