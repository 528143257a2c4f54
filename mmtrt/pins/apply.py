"""A lock's entry put into a plan: commits and versions stand where the recipe has names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from mmtrt.pins.entry import Entry, EnvPin, GitPin, HubPin, Pin
from mmtrt.redaction import FORMS
from mmtrt.stages import Clone, Download, Env, Stage


@dataclass(frozen=True, slots=True)
class Pins:
    """One entry, ready for :func:`mmtrt.plan.build.make_plan`."""

    entry: Entry
    title: str
    """The lock file, as people know it."""

    @property
    def backend(self) -> str | None:
        """What ``backend=auto`` means; nothing by an entry for which the backend was chosen."""
        return self.entry.backend.name if self.entry.leaves_open("backend") else None

    def engine(self, backend: str) -> str | None:
        """Return what ``engine=auto`` means on the locked backend; nothing if it was chosen."""
        is_told = backend == self.entry.backend.name and self.entry.leaves_open("engine")
        return self.entry.backend.engine if is_told else None

    def pinned(self, stage: Stage) -> Stage:
        """Return a stage with what its name was locked to; a pin of another name counts nothing."""
        pin = pin_of(self.entry, stage)
        if pin is None or asked(pin, stage):
            return stage
        if isinstance(pin, HubPin):
            expect = tuple(f"{file.digest}={file.name}" for file in pin.files)
            return replace(cast(Download, stage), revision=pin.commit, expect=expect)
        if isinstance(pin, GitPin):
            return replace(cast(Clone, stage), revision=pin.commit)
        return replace(cast(Env, stage), pins=tuple(pin.packages))


def place_of(stage: Stage) -> str:
    """Return the field of an entry that speaks of a stage."""
    if isinstance(stage, Download):
        return "downloads"
    return "clones" if isinstance(stage, Clone) else "environments"


def pin_of(entry: Entry, stage: Stage) -> Pin | None:
    """Return what an entry says of a stage; nothing of one that fetches nothing."""
    if isinstance(stage, (Download, Clone, Env)):
        pins: dict[str, Pin] = getattr(entry, place_of(stage))
        return pins.get(stage.id)
    return None


def asked(pin: Pin, stage: Stage) -> list[tuple[str, object, object]]:
    """Return (field, locked, present) of each name in which a pin and a stage differ."""
    rows: list[tuple[str, object, object]] = []
    if isinstance(pin, HubPin) and isinstance(stage, Download):
        rows = [
            ("repo", pin.repo, stage.repo_id),
            ("revision", pin.revision, stage.revision),
            ("include", pin.include, list(stage.include)),
            ("exclude", pin.exclude, list(stage.exclude)),
        ]
    elif isinstance(pin, GitPin) and isinstance(stage, Clone):
        rows = [("url", pin.url, FORMS.text(stage.url)), ("revision", pin.revision, stage.revision)]
    elif isinstance(pin, EnvPin) and isinstance(stage, Env):
        rows = [("requirements", pin.requirements, FORMS.tree(stage.requirements))]
    return [row for row in rows if row[1] != row[2]]
