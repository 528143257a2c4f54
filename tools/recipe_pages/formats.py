"""Number formats, backends and sessions of a recipe in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import get_args

from mmtrt.backends import BACKENDS, flags
from mmtrt.backends.base import Command
from mmtrt.backends.native_quant import CALIBRATION_SET
from mmtrt.config.schema import QuantName, SessionName
from mmtrt.plan.graph import Plan
from mmtrt.plan.render import symbolic
from mmtrt.report import markdown as md
from mmtrt.stages import Quantize, Run
from tools.recipe_pages.plans import NOWHERE, Subject, plan_of


def formats_section(subject: Subject) -> str:
    """Return the number formats and how each is made."""
    names = [name for name in subject.file.quants if name != "none"]
    if not names:
        return "## Number formats\n\nNone but the unquantized one."
    rows = [_format_row(subject, name) for name in names]
    columns = ("`quant=`", "Variants", "Made by", "Rest in", "KV cache", "Calibrated with")
    table = md.table(columns, rows)
    toolchain = subject.backend(subject.file.default_variant)
    if len({name for name in subject.file.backends if name != "fake"}) > 1:
        return f"## Number formats\n\nAs backend {md.code(toolchain)} makes them.\n\n{table}"
    return f"## Number formats\n\n{table}"


def _format_row(subject: Subject, quant: QuantName) -> list[str]:
    options = subject.file.quants[quant]
    wanted = [
        name
        for name in subject.file.variants
        if options.is_for(name, subject.backend(name))
        and quant in _formats(subject.backend(name), subject)
    ] or options.variants
    default = subject.file.default_variant
    variant = default if default in wanted else wanted[0]
    recipe = subject.recipe(variant, quant=quant)
    plan, plain = plan_of(recipe), plan_of(subject.recipe(variant))
    made, calibration = list(_differences(plan, plain)), ""
    for node in plan.active():
        if isinstance(node.stage, Quantize) and node.command is not None:
            tool = symbolic(node.command)
            if "--calib-size" in tool:
                size = tool[tool.index("--calib-size") + 1]
                named = node.stage.calib_dataset or CALIBRATION_SET
                calibration = f"{size} samples of {md.code(named)}"
            elif any(word.startswith("{examples}/") for word in tool):
                calibration = _calibration(tool, recipe.settings.trtllm.version)
    everything = len(wanted) == len(subject.file.variants)
    return [
        md.code(quant),
        "all" if everything else md.codes(wanted),
        "; ".join(made),
        recipe.quant.dtype or recipe.dtype,
        recipe.quant.kv_cache_dtype or "",
        calibration,
    ]


def _differences(plan: Plan, plain: Plan) -> Iterator[str]:
    """Yield what the commands of a format have that the unquantized ones have not."""
    usual = {node.id: node.command for node in plain.nodes}
    for node in plan.active():
        before, command = usual[node.id], node.command
        if command is None:
            continue
        if before is None:
            words = symbolic(command)
            script = next((w for w in words if w.startswith("{examples}/")), None)
            tool = script.rpartition("/")[2] if script else words[words.index("-m") + 1]
            yield f"{md.code(tool)} in stage {md.code(node.id)}"
            continue
        old, new = _flags(before), _flags(command)
        gained = [flag for flag in new if flag not in old]
        lost = [flag for flag in old if flag not in new]
        if gained:
            yield f"{md.code(node.id)} with {md.code(' '.join(gained))}"
        if lost:
            yield f"{md.code(node.id)} without {md.code(' '.join(lost))}"
    for node in plain.active():
        if plan[node.id].command is None:
            yield f"no {md.code(node.id)}"


def _flags(command: Command) -> list[str]:
    """Return each flag with its values."""
    groups: list[list[str]] = []
    for word in symbolic(command):
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(word)
    return [shlex.join(group) for group in groups]


def _calibration(argv: list[str], version: str) -> str:
    """Return the samples that a command calibrates with, the tool's defaults filled in."""
    given = {flag: values[0] for flag, values in flags.parse(argv, version).items() if values}
    usual = flags.defaults(flags.tool_of(argv, version) or "", version)
    size, data = "--calib_size", "--calib_dataset"
    told = {flag: md.text(str(given.get(flag, usual.get(flag)))) for flag in (size, data)}
    left = [flag for flag in told if flag not in given]
    if not left:
        return f"{told[size]} samples of {told[data]}"
    whose = "both the tool's defaults" if len(left) > 1 else f"{md.code(left[0])} by default"
    return f"{told[size]} samples of {told[data]} ({whose})"


def _formats(backend: str, subject: Subject) -> list[str]:
    """Return the number formats of a recipe that a backend can make."""
    known = BACKENDS[backend](subject.recipe(), NOWHERE).formats
    return [
        name
        for name, options in subject.file.quants.items()
        if name in known and options.is_made_by(backend)
    ]


def backends_section(subject: Subject) -> str:
    """Return the toolchains and what ``session`` may be."""
    rows = [
        (md.code(name), md.codes(_formats(name, subject)))
        for name in subject.file.backends
        if name in BACKENDS
    ]
    tables = ["## Backends and sessions", md.table(("`backend=`", "`quant=`"), rows)]
    if subject.recipe().workflow == "pytorch":
        tables.append("`workflow=pytorch`: no engine is built, and there are no sessions.")
        return "\n\n".join(tables)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in subject.file.variants:
        if subject.backend(name) == "native":
            continue  # it has a runtime of its own
        groups.setdefault(subject.recipe(name).sessions, []).append(name)
    usual = _usual_session(subject)
    columns = [
        md.code(f"session={name}") + (" (default)" if name == usual else "")
        for name in get_args(SessionName)
    ]
    served = [
        ([md.codes(names)] + ["yes" if s in sessions else "no" for s in get_args(SessionName)])
        for sessions, names in groups.items()
        if sessions
    ]
    if served:
        tables.append(md.table(("Variants", *columns), served))
    ignored = groups.get((), [])
    if ignored:
        tables.append(f"`run.py` ignores `session` for {md.codes(ignored)}.")
    return "\n\n".join(tables)


def _usual_session(subject: Subject) -> str | None:
    """Return the session that the runner takes by itself."""
    recipe = subject.recipe()
    version = recipe.settings.trtllm.version
    for node in plan_of(recipe).active():
        if isinstance(node.stage, Run) and node.command is not None:
            tool = flags.tool_of(symbolic(node.command), version)
            return flags.defaults(tool or "", version).get("--session")
    return None
