"""A plan as a picture: Mermaid or Graphviz text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mmtrt.plan.graph import Node, Plan


@dataclass(frozen=True, slots=True)
class Edge:
    """One stage reads what another made."""

    source: str
    target: str
    ports: tuple[str, ...]
    dashed: bool = False
    """Whether the reader is skipped, so that nothing flows."""


def edges(plan: Plan) -> Iterator[Edge]:
    """Yield what flows: inputs that commands really read, then those of skipped stages."""
    for node in plan.nodes:
        if node.command is None:
            stage_needs = node.stage.needs.items()
            needs = [(source.partition("/")[0], port) for port, source in stage_needs]
        else:
            needs = [(node.feeds[port], port) for port in node.command.ports()]
        by_source: dict[str, list[str]] = {}
        for source, port in needs:
            if port not in by_source.setdefault(source, []):
                by_source[source].append(port)
        for source, read in by_source.items():
            yield Edge(source, node.id, tuple(read), node.command is None)


def to_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart, as GitHub shows it in Markdown."""
    names = _mermaid_names(plan)
    lines = ["flowchart LR"]
    for node in plan.nodes:
        label = "<br/>".join(_mermaid_text(line) for line in _label(node))
        skipped = ":::skipped" if node.command is None else ""
        lines.append(f'  {names[node.id]}["{label}"]{skipped}')
    for edge in edges(plan):
        arrow = "-.->" if edge.dashed else "-->"
        ports = _mermaid_text(", ".join(edge.ports))
        lines.append(f'  {names[edge.source]} {arrow}|"{ports}"| {names[edge.target]}')
    if any(node.command is None for node in plan.nodes):
        lines.append("  classDef skipped stroke-dasharray: 4 4")
    return "\n".join(lines) + "\n"


def to_dot(plan: Plan) -> str:
    """Return a Graphviz graph, for ``dot -Tsvg``."""
    lines = [f"digraph {_dot_text(plan.recipe.name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for node in plan.nodes:
        style = ", style=dashed" if node.command is None else ""
        lines.append(f"  {_dot_text(node.id)} [label={_dot_text(*_label(node))}{style}];")
    for edge in edges(plan):
        style = ", style=dashed" if edge.dashed else ""
        label = _dot_text(", ".join(edge.ports))
        ends = f"{_dot_text(edge.source)} -> {_dot_text(edge.target)}"
        lines.append(f"  {ends} [label={label}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


def _label(node: Node) -> list[str]:
    """Return the lines in a stage's box: id, kind where it differs, why it is skipped."""
    lines = [node.id]
    if node.kind != node.id:
        lines.append(node.kind)
    if node.command is None:
        lines.append(f"skipped: {node.skip}")
    return lines


def _mermaid_names(plan: Plan) -> dict[str, str]:
    """Return an identifier a stage; ``end`` and the like are words of Mermaid's own."""
    names: dict[str, str] = {}
    for node in plan.nodes:
        wanted = name = re.sub(r"\W", "_", node.id, flags=re.ASCII)
        if name.lower() in {"end", "graph", "subgraph", "style", "class", "click", "default"}:
            wanted = name = f"{name}_"
        count = 1
        while name in names.values():
            count += 1
            name = f"{wanted}_{count}"
        names[node.id] = name
    return names


def _mermaid_text(text: str) -> str:
    """Escape text between quotes with Mermaid's entity codes."""
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\n": " "}
    return "".join(codes.get(character, character) for character in text)


def _dot_text(*lines: str) -> str:
    r"""Return a quoted string; its lines are joined by ``\n``, Graphviz's centred line break."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
