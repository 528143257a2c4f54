"""The script as a whole: its head, one block a stage, and its last line."""

from __future__ import annotations

import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

from mmtrt import __version__
from mmtrt.backends.base import Command, In, Unkeyed
from mmtrt.export import functions
from mmtrt.export.names import comment, indented, one_a_line
from mmtrt.export.places import AS_ROOT, Places
from mmtrt.export.plain import Plain, plain
from mmtrt.plan.graph import Node, Plan

BACKEND = "trtllm"
"""The toolchain whose scripts need nothing of mmtrt."""

WIDTH = 98
"""Longer lists of files get a line each."""


def to_sh(plan: Plan) -> str:
    """Return a bash script with one block a stage; the same plan gives the same text."""
    places = Places(plan)
    is_plain = plan.choice.backend.name == BACKEND
    blocks = [_block(node, plan, places, is_plain) for node in plan.nodes]
    body = "\n".join(blocks)
    head = _head(plan, places, is_plain, AS_ROOT in body)
    return "\n".join([head, *functions.needed(body), *blocks, 'echo "done: $OUT" >&2\n'])


def _head(plan: Plan, places: Places, is_plain: bool, has_mpi: bool) -> str:
    """Return what comes before the functions: what it is, options, variables."""
    recipe, toolchain = plan.recipe, plan.choice.backend.toolchain()
    name = plan.choice.backend.name
    command = shlex.join(("mmtrt", "export", *recipe.overrides, "--format", "sh"))
    slug = re.sub(r"[^\w.-]", "_", f"{recipe.name}-{recipe.variant_name}", flags=re.ASCII)
    tools = " ".join(dict.fromkeys((name, *toolchain.values())))
    # The example scripts import modules that lie beside them.
    is_safe = not is_plain and not places.example_variables()
    lines = [
        "#!/usr/bin/env bash",
        comment(f"{recipe.name} {recipe.variant_name} as plain commands: {tools}"),
        comment(f"mmtrt {__version__}: {command}"),
        "#",
        *(f"# {line}".rstrip() for line in _explanation(plan, places, is_plain)),
        "set -euo pipefail",
        "",
        f"OUT=${{OUT:-outputs/{slug}}}",
        "PYTHON=${PYTHON:-python3}",
        "",
        "unset CDPATH",
        'mkdir -p -- "$OUT"',
        'OUT=$(cd -- "$OUT" && pwd)',
        "case $PYTHON in",
        '  */*) PYTHON=$(cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;;',
        "esac",
        f"export PYTHONUNBUFFERED=1{' PYTHONSAFEPATH=1' if is_safe else ''}",
    ]
    if has_mpi:
        lines += [
            "",
            "# mpirun refuses to run as root unless it is told to",
            "AS_ROOT=()",
            'if [ "$(id -u)" = 0 ]; then AS_ROOT=(--allow-run-as-root); fi',
        ]
    lines += ["", "# What each stage writes", *places.outputs()]
    if examples := list(places.example_scripts()):
        lines += ["", "# TensorRT-LLM's example scripts", *examples]
    if own := list(places.own_files()):
        lines += ["", "# Your own files", *own]
    return "\n".join(lines) + "\n"


def _explanation(plan: Plan, places: Places, is_plain: bool) -> list[str]:
    """Return what a reader must know."""
    lines = []
    if is_plain:
        version = plan.choice.backend.toolchain()["version"]
        lines += [
            f"For a machine with TensorRT-LLM {version}, such as its container; "
            "mmtrt is not needed.",
            "The same steps are in examples/models/core/multimodal/README.md there, section",
            f"{plan.recipe.file.readme_section}.",
            "",
        ]
    has = "TensorRT-LLM" if is_plain else "mmtrt and its toolchain"
    lines += [
        "Each block is one stage; it writes to $OUT/<stage>/<model name>. A stage that has a .done",
        "marker is skipped: remove the marker, and those of the stages that read from it, to run",
        "it again. These may be set from outside:",
        "",
        "  OUT       where everything goes",
        f"  PYTHON    interpreter that has {has}",
    ]
    otherwise = "; fetched if not set" if places.is_fetched() else ""
    lines += [
        f"  {variable}  TensorRT-LLM's directory examples, of that version{otherwise}"
        for variable in places.example_variables()
    ]
    return lines


def _block(node: Node, plan: Plan, places: Places, is_plain: bool) -> str:
    """Return the lines of one stage."""
    command = node.command
    if command is None:
        return comment(f"{_title(node)}: skipped, {node.skip}") + "\n"
    form = plain(node, places) if is_plain else None
    if form is None:
        form = Plain(_process(node, command, places), tuple(command.outputs.values()))
    directory = places.directory(node)
    start = f"start {directory}" + ("" if form.keeps else f" {places.output(node)}")
    written = [places.output(node, path) for path in form.writes]
    lines = [start, *form.lines, *_finish(directory, written)]
    conditions = [f'[ ! -e "$OUT/{directory}/.done" ]']
    notes = [*_reads(node), *_limits(node, plan)]
    if (examples := places.examples(node)) is not None:
        variable, place = examples
        conditions.insert(0, f'[ "${variable}" = {place} ]')
    if node.stage.RERUNS:
        notes.append("runs every time")
    else:
        lines = [f"if {' && '.join(conditions)}; then", *indented(lines), "fi"]
    head = [comment(f"{_title(node)}: {_purpose(node)}"), *(comment(f"  {n}") for n in notes)]
    return "\n".join([*head, *lines]) + "\n"


def _finish(directory: str, written: list[str]) -> list[str]:
    """Return the call that marks a stage as done."""
    call = " ".join([f"finish {directory}", *written])
    if len(call) < WIDTH:
        return [call]
    return one_a_line([(f"finish {directory}", False), *((path, True) for path in written)])


def _process(node: Node, command: Command, places: Places) -> list[str]:
    """Return a stage's command in a working directory and with variables of its own."""
    work = f'"$OUT/{places.directory(node)}/.work"'
    variables = dict(command.env)
    if not command.resources.network:
        # As mmtrt does: a hidden download fails at once.
        variables.setdefault("HF_HUB_OFFLINE", "1")
    return [
        "(",
        f"  cd -- {places.word(node, command.cwd) if command.cwd else work}",
        *indented(places.command(node, command.argv, variables)),
        *(
            f"  keep {shlex.quote(name)} {places.word(node, side)}"
            for name, side in command.keeps.items()
        ),
        ")",
    ]


def _title(node: Node) -> str:
    return node.id if node.id == node.kind else f"{node.id} ({node.kind})"


def _purpose(node: Node) -> str:
    """Return what the stage is for: the first line of its module's documentation."""
    text = sys.modules[type(node.stage).__module__].__doc__ or node.kind
    first = text.strip().splitlines()[0]
    return first[:1].lower() + first[1:].rstrip(".")


def _reads(node: Node) -> list[str]:
    """Return which stages and files the command reads, and what it needs of the machine."""
    assert node.command is not None
    ports = [place.port for place in node.command.places() if isinstance(place, In)]
    sources = [(port, node.feeds[port]) for port in (*ports, *node.command.ports())]
    sources += [(place.name, Path(place.path).name) for place in node.locals]
    parts = [port if port == source else f"{port} from {source}" for port, source in sources]
    needs, notes = node.command.resources, []
    if parts:
        notes.append("reads " + ", ".join(dict.fromkeys(parts)))
    if needs.gpus:
        notes.append(f"needs {needs.gpus} GPU{'s' * (needs.gpus > 1)}")
    if needs.network:
        notes.append("needs network")
    return ["; ".join(notes)] if notes else []


def _limits(node: Node, plan: Plan) -> list[str]:
    """Return the sum behind every derived limit that the command states."""
    assert node.command is not None
    words = [word.word if isinstance(word, Unkeyed) else word for word in node.command.argv]
    stated = set(pairwise(words))
    prefix = "vision." if node.kind == "build_vision" else ""
    return [
        f"{name.removeprefix(prefix)} {limit.value}: {limit.because}"
        for name, limit in plan.recipe.sizing.limits.items()
        if limit.source == "derived"
        and name.startswith(prefix)
        and (f"--{name.removeprefix(prefix)}", str(limit.value)) in stated
    ]
