"""A page in Markdown for each recipe, and their index: ``make docs`` writes them.

Everything on a page is computed from the recipe by the code that plans and sizes for people, on a
machine that has nothing of its own, so that every machine writes the same bytes.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmtrt.config.schema import Settings
from mmtrt.report import markdown as md
from mmtrt.report.recipe_view import header, launch_lines
from tools.recipe_pages.commands import commands_section, graphs, stages_section
from tools.recipe_pages.formats import backends_section, formats_section
from tools.recipe_pages.limits import limits_section
from tools.recipe_pages.plans import Subject, subjects, tp_text
from tools.recipe_pages.tables import (
    environment_section,
    findings_section,
    readme_link,
    repairs_section,
    request_section,
    variants_section,
)

USAGE = """\
python -m tools.recipe_pages.page DIR

Write a Markdown page for each recipe and an index, README.md, to DIR. Pages of recipes that are
gone are removed.
"""

MARK = "<!-- Written by `make docs`"
"""How every page begins, after its title."""

INDEX = "README.md"

REPOSITORY = "../.."
"""From a page to the top of the repository."""


def pages() -> dict[str, str]:
    """Return every page by its file's name."""
    with tempfile.TemporaryDirectory() as place:
        found = subjects(Path(place))
        return {INDEX: index(found)} | {f"{each.name}.md": page(each) for each in found}


def page(subject: Subject) -> str:
    """Return the page of one recipe."""
    shapes = graphs(subject)
    plan = shapes[0].plan
    sections = [
        _head(subject),
        _launch(subject),
        variants_section(subject),
        limits_section(subject),
        formats_section(subject),
        backends_section(subject),
        request_section(subject, plan.recipe.run),
        environment_section(subject, plan),
        findings_section(plan),
        stages_section(shapes),
        commands_section(subject, shapes),
        repairs_section(subject),
        _honesty(subject, plan.recipe.settings),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(subject: Subject) -> str:
    file, place = subject.file, f"recipes/recipe/{subject.path.name}"
    rows = [(f"**{name.capitalize()}**", md.text(said)) for name, said in _facts(subject.path)]
    rows += [
        ("**Stands for**", f"{readme_link(file.readme_section)} of TensorRT-LLM's README"),
        ("**Recipe**", md.link(md.code(place), f"{REPOSITORY}/{place}")),
    ]
    return "\n\n".join(
        (
            f"# {md.text(file.title)}",
            f"{MARK} from {place}: change that file, not this one. -->",
            _sentence(file.summary),
            "\n".join(f"- {name}: {said}" for name, said in rows),
        )
    )


def _sentence(phrase: str) -> str:
    return f"{md.text(phrase[:1].upper() + phrase[1:])}."


def _facts(path: Path) -> list[tuple[str, str]]:
    """Return what the header says that the recipe makes and needs."""
    found: list[tuple[str, str]] = []
    for line in header(path):
        if match := re.match(r"(makes|needs)\s+(\S.*)$", line):
            found.append((match[1], match[2]))
        elif found and re.match(r"\s{2,}\S", line):
            found[-1] = found[-1][0], f"{found[-1][1]} {line.strip()}"
    return found


def _launch(subject: Subject) -> str:
    lines = "\n".join(launch_lines(subject.path, subject.name))
    return f"## Launch\n\n{md.fenced(lines, 'sh')}"


def _honesty(subject: Subject, settings: Settings) -> str:
    told = [
        "No TensorRT-LLM was at hand: its commands are checked against the flag tables of "
        f"TensorRT-LLM {settings.trtllm.version} and run with stand-ins for its tools, not with "
        "the tools themselves."
    ]
    native = [name for name, v in subject.file.variants.items() if v.backend == "native"]
    if native:
        told.append(f"Variant {md.codes(native)} is really built and asked, on a CPU.")
    return "## What was tried\n\n" + " ".join(told)


def index(found: Sequence[Subject]) -> str:
    """Return the table of all recipes."""
    rows = []
    for each in found:
        file = each.file
        rows.append(
            (
                md.link(md.code(each.name), f"{each.name}.md"),
                md.text(file.title),
                md.code(file.default_variant),
                md.codes(name for name in file.variants if name != file.default_variant),
                md.codes(name for name in file.quants if name != "none"),
                tp_text(each, file.default_variant),
                each.recipe().workflow,
                md.codes(name for name in file.backends if name != "fake"),
                readme_link(file.readme_section),
            )
        )
    columns = (
        *("Recipe", "Model", "Default variant", "Other variants", "Number formats"),
        *("Tensor parallel", "Workflow", "Backends", "Section of the README"),
    )
    return (
        "\n\n".join(
            (
                "# Recipes",
                f"{MARK} from recipes/recipe/. -->",
                "One page for each recipe that ships with mmtrt: how to launch it, its limits with "
                "their sums, and every command. `mmtrt show RECIPE` tells the same in a terminal.",
                md.table(columns, rows),
                "Tensor parallel: sizes of `tp` above 1 that no rule refuses for the default "
                "variant. Every recipe has the backend `fake` too: it tries a recipe without a "
                "GPU, and its engines say that they are fake.",
            )
        )
        + "\n"
    )


def write(folder: Path) -> list[Path]:
    """Write every page, remove those of recipes that are gone, and return what is there."""
    made = pages()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in made and MARK in old.read_text(encoding="utf-8"):
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in made]


def main(args: Sequence[str]) -> int:
    """Write the pages to the directory that is named."""
    if len(args) != 1 or args[0].startswith("-"):
        sys.stderr.write(USAGE)
        return 2
    sys.stdout.write(f"{len(write(Path(args[0])))} pages in {args[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
