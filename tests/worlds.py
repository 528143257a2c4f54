"""Small worlds: plans made of shell commands, run by the real loop in a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mmtrt.backends.base import Choice, Command, In, Local, Out, Resources, Skip
from mmtrt.config import schema, typed
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.host import HostInfo
from mmtrt.plan.graph import Node, Plan, ordered
from mmtrt.stages import Stage

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes"

TOOLS = "torch transformers onnx onnxscript onnxruntime safetensors tokenizers pillow numpy".split()

HOST = HostInfo(
    hostname="box",
    system="Linux x86_64",
    python="3.11.7",
    cpus=4,
    ram_bytes=16 << 30,
    versions=dict.fromkeys(TOOLS, "1.0"),
    lookup=False,
)


def settings(recipe: str = "llava", **changes: Any) -> schema.Settings:
    """Return settings as composition would, without Hydra: for tests of what comes after."""
    data = yaml.safe_load((RECIPES / "config.yaml").read_text())
    for key in ("defaults", "hydra"):
        del data[key]
    data["paths"] = {"store": "store", "runs": "runs"}
    data["recipe"] = yaml.safe_load((RECIPES / f"recipe/{recipe}.yaml").read_text())
    for group, choice in (("backend", "auto"), ("quant", "none"), ("executor", "local")):
        choice = changes.pop(group, choice)
        data[group] = yaml.safe_load((RECIPES / group / f"{choice}.yaml").read_text())
    for key, value in changes.items():
        place = data
        *above, last = key.split("__")
        for name in above:
            place = place[name]
        place[last] = value
    result, problems = typed.read(schema.Settings, data)
    assert result is not None, problems
    return result


def recipe(name: str = "llava", **changes: Any) -> Recipe:
    """Return a resolved recipe; ``vision__max_batch_size=2`` sets a nested key."""
    return resolve(settings(name, **changes), where=lambda path: typed.dotted(path))


@dataclass(frozen=True, kw_only=True)
class Shell(Stage):
    """A stage that is a shell script: ``$1`` is its output, ``$2``... its inputs."""

    KIND: ClassVar[str] = "shell"
    script: str
    reads: tuple[str, ...] = ()
    part: str = ""
    """Of its inputs, what it reads; empty for all."""
    gpus: int = 0
    retry: int | None = None


class ShellBackend:
    """Lowers :class:`Shell`."""

    name = "shell"
    formats: ClassVar[tuple[str, ...]] = ("none",)
    max_ranks = 1
    engine_choice = None
    install_hint = "nothing to install"
    versions: ClassVar[dict[str, str]] = {}

    def engine(self, asked: str) -> str:
        return "none"

    def toolchain(self) -> dict[str, str]:
        return {"name": "shell", "version": "1"}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        return dict(self.versions)

    def gpu_class(self) -> dict[str, str | int] | None:
        return None

    def lower(self, stage: Stage) -> Command | Skip:
        assert isinstance(stage, Shell)
        return Command(
            argv=(
                *("sh", "-c", stage.script, "sh", Out()),
                *(In(port, stage.part) for port in stage.needs),
                *(Local(f"file{i}", path) for i, path in enumerate(stage.reads)),
            ),
            resources=Resources(gpus=stage.gpus),
            retry_exit_codes=frozenset() if stage.retry is None else frozenset({stage.retry}),
        )


@dataclass
class World:
    """A graph of shell stages that tests change between runs."""

    root: Path
    stages: dict[str, Shell]
    executor: Mapping[str, Any]
    host: HostInfo = HOST
    force: str | None = None

    def plan(self) -> Plan:
        base = recipe(variant="tiny", force=self.force)
        executor = replace(base.settings.executor, **self.executor)
        chosen = replace(base, settings=replace(base.settings, executor=executor))
        backend = ShellBackend()
        nodes = []
        for stage in self.stages.values():
            command = backend.lower(stage)
            assert isinstance(command, Command)
            nodes.append(Node(stage, command, None, dict(stage.needs)))
        return Plan(chosen, Choice(backend, "tests", self.host), ordered(nodes))

    def change(self, stage: str, **fields: Any) -> None:
        self.stages[stage] = replace(self.stages[stage], **fields)


def world(
    root: Path, *stages: tuple[str, str] | tuple[str, str, Sequence[str]], **executor: Any
) -> World:
    """Return a world of ``(id, script, ids it needs)``."""
    made = {}
    for name, script, *needs in stages:
        feeds = {need: need for need in (needs[0] if needs else ())}
        made[name] = Shell(id=name, model_name="model", script=script, needs=feeds)
    return World(root, made, {"grace_s": 0.5, **executor})
