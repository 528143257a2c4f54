"""What moving names stand for: as the lock has it, else the store, else the hub, git or pip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.store import Artifact, Hit, Store
from mmtrt.backends.base import ENV_LOCK, EXAMPLES_PORT, Choice, Script
from mmtrt.config.recipe import Recipe
from mmtrt.host import HostInfo
from mmtrt.lock.apply import RecipePins
from mmtrt.lock.needs import Fetch, Needs, needs_of, recipe_name
from mmtrt.lock.questions import Question, ask, unresolved
from mmtrt.lock.tables import (
    ROW_TABLES,
    Fetching,
    Lock,
    LockedClone,
    LockedDownload,
    LockedEnvironment,
    LockedFile,
    LockedRecipe,
    Row,
    joined,
)
from mmtrt.plan.graph import Node
from mmtrt.plan.keys import key_document
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Which names are asked for anew."""

    everything: bool = False
    names: tuple[str, ...] = ()
    """Stages, repositories, URLs, packages, or ``backend``."""

    def takes(self, *names: str) -> bool:
        """Return whether one of these is to be asked for anew."""
        return self.everything or any(name in self.names for name in names)


@dataclass
class Resolver:
    """Makes locks from choices; each name is asked for once, whichever choices have it."""

    host: HostInfo
    upgrade: Upgrade = Upgrade()
    tell: Callable[[str], None] = lambda text: None
    """Called with a line before something is asked for, which may take a while."""
    store: Store | None = None
    """Tells what its artifacts were made of; each recipe's own where ``None``."""
    fresh: dict[str, Row] = field(default_factory=dict)
    """Row -> what was found by this resolver, which no upgrade asks for again."""
    notes: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=lambda: {"backend"})
    """Every name that was met and that an upgrade could take."""

    def locked(
        self,
        old: Lock,
        name: str,
        recipes: Sequence[Recipe],
        kept: LockedRecipe | None = None,
    ) -> Lock:
        """Return a lock in which one recipe asks for just what some choices of it ask for.

        What the old lock says stays as long as a recipe asks for the same.

        Args:
            old: the lock so far.
            name: ``recipe/variant``.
            recipes: a resolved recipe for each choice, those first that were locked before.
            kept: what stays of it in any case.

        Raises:
            HostError: LCK104, if a name cannot be resolved because nothing outside can be reached.
            RecipeError: LCK104, if a name stands for nothing.
            PlanError: as :func:`mmtrt.plan.build.make_plan`.
        """
        whole = kept
        tables: dict[str, Any] = {table: dict(old.rows(table)) for table in ROW_TABLES}
        for recipe in recipes:
            store = self.store or Store(Path(recipe.settings.paths.store))
            needs = self._needs(old, recipe, store)
            rows = self._rows(needs, old, store)
            for fetch in needs.fetches:
                tables[fetch.table][fetch.row] = rows[fetch.row]
            both = joined(whole, needs.facts)
            if whole is not None and both != whole:
                both = replace(both, choices=[*whole.choices, *needs.facts.choices])
            whole = both
        found = {key: each for key, each in old.recipes.items() if key != name}
        if whole is not None:
            found[name] = whole
        return Lock(recipes=found, **tables).only(found)

    def _needs(self, old: Lock, recipe: Recipe, store: Store) -> Needs:
        pins = RecipePins(old, recipe_name(recipe), "the old lock")
        is_kept = pins.name in old.recipes and not self.upgrade.takes("backend")
        return needs_of(recipe, self.host, store, pins if is_kept else None)

    def _rows(self, needs: Needs, old: Lock, store: Store) -> dict[str, Row]:
        found: dict[str, Row] = {}
        questions: dict[str, Question] = {}
        for fetch in needs.fetches:
            row = self.fresh.get(fetch.row)
            if row is None:
                row = old.rows(fetch.table).get(fetch.row)
                names = [*fetch.names(), *_packages(row)]
                self.known.update(names)
                if self.upgrade.takes(*names) and not _is_settled(fetch.stage, row):
                    row = None
                else:
                    row = row or _still(fetch.stage) or _stored(fetch, needs.choice, store)
            if row is None:
                questions[fetch.row] = self._question(fetch, needs, old, store)
            else:
                found[fetch.row] = row
        if questions:
            stages = {fetch.row: fetch.stage for fetch in needs.fetches}
            asked = ", ".join(stages[row].id for row in questions)
            self.tell(f"asking what {asked} of {needs.name} stand for")
            found |= self._answered(questions, stages, needs.name)
        self.fresh |= found
        return found

    def _question(self, fetch: Fetch, needs: Needs, old: Lock, store: Store) -> Question:
        stage = fetch.stage
        if isinstance(stage, Download):
            # Other files of the same revision are of the same commit.
            name = fetch.row.partition("#")[0]
            rows = {**({} if self.upgrade.takes(*fetch.names()) else old.downloads), **self.fresh}
            commits = [
                row.commit
                for key, row in rows.items()
                if key.partition("#")[0] == name and isinstance(row, LockedDownload)
            ]
            return {
                "kind": "hub",
                "repo": stage.repo_id,
                "revision": commits[0] if commits else stage.revision,
                "include": stage.include,
                "exclude": stage.exclude,
                "allow_pickle": stage.allow_pickle,
            }
        if isinstance(stage, Clone):
            return {"kind": "git", "url": stage.url, "revision": stage.revision}
        files = [word for word in fetch.command.argv if isinstance(word, Script)]
        names = {f"{{examples}}/{file.path}" for file in files}
        is_cloned = any(file.root is None for file in files)
        return {
            "kind": "pip",
            "requirements": [each for each in stage.requirements if each not in names],
            "files": [f"{file.root or 'examples'}/{file.path}" for file in files],
            "repository": _examples(needs, store) if is_cloned else None,
        }

    def _answered(
        self, questions: Mapping[str, Question], stages: Mapping[str, Fetching], name: str
    ) -> dict[str, Row]:
        """Return what the hub, git and pip tell.

        Raises:
            HostError: LCK104.
            RecipeError: LCK104.
        """
        found: dict[str, Row] = {}
        failures: dict[str, Mapping[str, Any]] = {}
        for row, answer in ask(questions).items():
            stage, error = stages[row], answer.get("error")
            if error and error["is_temporary"] and _is_commit(stage):
                # The recipe itself says the commit, which is as good as an answer.
                self.notes.append(
                    f"digests of {stage.id}'s files are not known: {error['message']}"
                )
                answer = {"commit": questions[row]["revision"], "files": []}
            elif error:
                failures[stage.id] = error
                continue
            if isinstance(stage, Download):
                files = [LockedFile(**each) for each in answer["files"]]
                asked = str(questions[row]["revision"])
                commit = asked if COMMIT.fullmatch(asked) else answer["commit"]
                found[row] = _download(stage, commit, files)
            elif isinstance(stage, Clone):
                found[row] = LockedClone(commit=answer["commit"])
            else:
                found[row] = _environment(stage, answer["packages"])
        if failures:
            by_stage = {stages[row].id: question for row, question in questions.items()}
            raise unresolved(name, by_stage, failures)
        return found


def _is_settled(stage: Fetching, row: Row | None) -> bool:
    """Return whether nothing can be told of a stage that the lock does not say already."""
    return isinstance(row, LockedDownload) and bool(row.files) and _is_commit(stage)


def _is_commit(stage: Fetching) -> bool:
    return isinstance(stage, Download) and COMMIT.fullmatch(stage.revision or "") is not None


def _packages(row: Row | None) -> list[str]:
    """Return the packages of an environment; to renew one is to renew all."""
    lines = row.packages if isinstance(row, LockedEnvironment) else []
    return [re.split(r"==| @ ", line, maxsplit=1)[0] for line in lines]


def _still(stage: Fetching) -> Row | None:
    """Return the row of code that its recipe names by a commit."""
    is_commit = isinstance(stage, Clone) and COMMIT.fullmatch(stage.revision)
    return LockedClone(commit=stage.revision) if is_commit else None  # type: ignore[union-attr, arg-type]


def _stored(fetch: Fetch, choice: Choice, store: Store) -> Row | None:
    """Return what the store has under the name that the recipe says."""
    stage = fetch.stage
    artifact = _artifact(fetch, choice, store)
    if artifact is None:
        return None
    if isinstance(stage, Env):
        return _environment(stage, (artifact.path / ENV_LOCK).read_text("utf-8").splitlines())
    said = artifact.logs.stdout.read_text(encoding="utf-8", errors="replace")
    commit = re.search(r"\bcommit ([0-9a-f]{40})\b", said)
    if commit is None:
        return None
    if isinstance(stage, Clone):
        return LockedClone(commit=commit[1])
    files = [
        LockedFile(name=file.path, size=file.size, digest=f"blake3:{file.digest}")
        for file in artifact.manifest.files
    ]
    return _download(stage, commit[1], files)


def _artifact(fetch: Fetch, choice: Choice, store: Store) -> Artifact | None:
    node = Node(fetch.stage, fetch.command)
    if fetch.command.places():
        return None
    found = store.find(node.kind, key_of(key_document(node, choice, {})))
    return found.artifact if isinstance(found, Hit) else None


def _examples(needs: Needs, store: Store) -> dict[str, str] | None:
    """Return the repository of the example scripts, and where a copy lies that the store has."""
    for fetch in needs.fetches:
        stage = fetch.stage
        if isinstance(stage, Clone) and stage.id == EXAMPLES_PORT:
            artifact = _artifact(fetch, needs.choice, store)
            place = {} if artifact is None else {"directory": str(artifact.path)}
            return {"url": stage.url, "revision": stage.revision, **place}
    return None


def _download(stage: Download, commit: str, files: list[LockedFile]) -> LockedDownload:
    return LockedDownload(
        commit=commit,
        include=list(stage.include),
        exclude=list(stage.exclude),
        files=sorted(files, key=lambda file: file.name),
    )


def _environment(stage: Env, packages: list[str]) -> LockedEnvironment:
    return LockedEnvironment(
        requirements=FORMS.tree(list(stage.requirements)), packages=FORMS.tree(packages)
    )
