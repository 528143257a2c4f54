"""A graph of stages that write files, as the peers' own files: ``dvc.yaml`` and ``Snakefile``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.timing import MeasurementFailed, Process

SCRIPT = "sh stages/{id}.sh"


@dataclass(frozen=True)
class Stage:
    """A stage whose command writes files of given sizes into the directory ``out/<id>``."""

    id: str
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    """Files and directories of the user's, relative to the graph's directory."""
    files: Mapping[str, int] = field(default_factory=lambda: {"out": 2})
    """Relative path -> bytes."""

    @property
    def inputs(self) -> list[str]:
        """Everything that the command reads: its own text, the user's files, other outputs."""
        return [f"stages/{self.id}.sh", *self.reads, *(f"out/{need}" for need in self.needs)]

    def script(self) -> str:
        """Return the command."""
        lines = ["set -e"]
        for path, size in self.files.items():
            place = Path("out", self.id, path)
            lines.append(f"mkdir -p '{place.parent}'; head -c {size} /dev/zero > '{place}'")
        return "\n".join(lines) + "\n"


def chain(count: int) -> list[Stage]:
    """Return a chain of stages that do next to nothing."""
    return [Stage(f"s{i}", (f"s{i - 1}",) if i else ()) for i in range(count)]


def of_demo(demo: Path, graph: Path) -> list[Stage]:
    """Return the demo's graph, with the edges of its plan and files as large as in its store.

    Args:
        demo: where the demo ran: :attr:`benchmarks.bench.Bench.demo`.
        graph: directory of the copy; what the demo reads of the user's is copied there.
    """
    ran = json.loads((demo / "first.json").read_text())
    runs = sorted((demo / "outputs" / "runs").iterdir())
    plan = json.loads((runs[-1] / "plan.json").read_text())
    artifacts = {s["id"]: demo / s["artifact"] for s in ran["stages"] if s["artifact"]}
    stages = []
    for planned in plan["stages"]:
        if planned["id"] not in artifacts:
            continue
        manifest = json.loads((artifacts[planned["id"]].parent / "manifest.json").read_text())
        needs = tuple(need for need in planned["needs"] if need in artifacts)
        reads = _copied(planned["inputs"], demo, graph)
        files = {entry["path"]: entry["size"] for entry in manifest["files"]}
        stages.append(Stage(planned["id"], needs, reads, files))
    return stages


def _copied(inputs: Mapping[str, object], demo: Path, graph: Path) -> tuple[str, ...]:
    """Copy the user's files among a stage's inputs: those that are no output of the demo's."""
    found = []
    for value in inputs.values():
        place = Path(str(value))
        if demo in place.parents or not place.is_absolute() or not place.exists():
            continue
        target = graph / "given" / place.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.copytree(place, target, dirs_exist_ok=True)
        else:
            shutil.copy(place, target)
        found.append(f"given/{place.name}")
    return tuple(found)


def write_scripts(stages: list[Stage], graph: Path) -> None:
    """Write the commands, which both peers run."""
    (graph / "stages").mkdir(parents=True, exist_ok=True)
    for stage in stages:
        (graph / "stages" / f"{stage.id}.sh").write_text(stage.script())


def dvc_yaml(stages: list[Stage]) -> str:
    """Return the graph for DVC; JSON is YAML."""
    table = {
        s.id: {"cmd": SCRIPT.format(id=s.id), "deps": s.inputs, "outs": [f"out/{s.id}"]}
        for s in stages
    }
    return json.dumps({"stages": table}, indent=1) + "\n"


def snakefile(stages: list[Stage]) -> str:
    """Return the graph for Snakemake."""
    rules = [
        f"rule {s.id}:\n"
        f"    input: {', '.join(map(repr, s.inputs))}\n"
        f"    output: directory({f'out/{s.id}'!r})\n"
        f"    shell: {SCRIPT.format(id=s.id)!r}\n"
        for s in stages
    ]
    wanted = ", ".join(repr(f"out/{s.id}") for s in stages)
    return "\n".join([f"rule all:\n    input: {wanted}\n", *rules])


def dvc(bench: Bench, stages: list[Stage], graph: Path) -> Process | None:
    """Set the graph up for DVC; return ``dvc repro``, ``None`` if it is not installed."""
    repro = bench.peer("dvc", "repro", cwd=graph)
    if repro is None:
        return None
    write_scripts(stages, graph)
    (graph / "dvc.yaml").write_text(dvc_yaml(stages))
    for words in (["init", "--no-scm", "-q"], ["config", "core.check_update", "false"]):
        prepare = bench.peer("dvc", *words, cwd=graph)
        assert prepare is not None
        prepare()
    return repro


def snakemake(bench: Bench, stages: list[Stage], graph: Path) -> Process | None:
    """Set the graph up for Snakemake; return its run, ``None`` if it is not installed."""
    run = bench.peer("snakemake", "--cores", "2", cwd=graph)
    if run is not None:
        write_scripts(stages, graph)
        (graph / "Snakefile").write_text(snakefile(stages))
    return run


def require_idle(process: Process, graph: Path) -> None:
    """See that a peer really has nothing to do: no output may be written anew.

    Raises:
        MeasurementFailed: if one was.
    """
    before = {path: path.stat().st_mtime_ns for path in (graph / "out").rglob("*")}
    process()
    after = {path: path.stat().st_mtime_ns for path in (graph / "out").rglob("*")}
    if before != after or not before:
        raise MeasurementFailed(f"{Path(process.argv[0]).name} built again what was built")
