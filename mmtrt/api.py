"""The five steps from a recipe to a report, for programs that use mmtrt as a library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmtrt.artifacts.store import Store
from mmtrt.config.compose import compose
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.errors import ArtifactError
from mmtrt.host import HostInfo, probe
from mmtrt.plan.build import make_plan as _make_plan
from mmtrt.plan.graph import Plan
from mmtrt.report.collect import collect
from mmtrt.report.recorded import RecordedRun, run_recorded
from mmtrt.report.render import to_markdown
from mmtrt.rules.check import CheckedPlan, check_plan

__all__ = ["check_plan", "execute", "load_recipe", "make_plan", "write_report"]


def load_recipe(
    name: str, overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()
) -> Recipe:
    """Compose and size a recipe: ``load_recipe("llava", ["variant=tiny"])``.

    Raises:
        RecipeError: CFG1xx, with every mistake found.
    """
    words = (f"recipe={name}", *overrides)
    composed = compose(words, config_dirs)
    return resolve(composed.settings, words, composed.where, tuple(config_dirs))


def make_plan(recipe: Recipe, host: HostInfo | None = None) -> Plan:
    """Return the plan of a recipe for a host, by default this one."""
    return _make_plan(recipe, host or probe())


def execute(checked: CheckedPlan, store: Store | None = None) -> RecordedRun:
    """Run what the store lacks, by default in the recipe's ``paths.store``, and record it.

    Raises:
        Interrupted: on Ctrl-C, after every process has ended.
        ArtifactError: if the store cannot be written.
    """
    store = store or Store(Path(checked.plan.recipe.settings.paths.store))
    return run_recorded(checked, store)


def write_report(run: RecordedRun, path: Path) -> Path:
    """Write the Markdown report of a run and return its path.

    Raises:
        ArtifactError: ART124 if the run left no record.
    """
    if run.directory is None:
        raise ArtifactError("this run left no record", code="ART124", why=run.warning)
    path.write_text(to_markdown(collect(run.directory)), encoding="utf-8")
    return path
