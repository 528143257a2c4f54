"""Every command of the README is accounted for: who makes it, and what is not as it says."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mmtrt.backends import flags
from mmtrt.backends.base import Script
from mmtrt.plan.graph import Node
from mmtrt.rules.check import find
from mmtrt.stages import Clone, Download, Patch, Write
from tests.readme.accounting import (
    COMMANDS,
    HUB,
    TRTLLM,
    Account,
    Book,
    Flow,
    accounts,
    clone_target,
    lying_at,
    mismatches,
    normal,
    readme_command,
    resolved,
    sections,
)
from tests.readme.extract import ReadmeCommand, blocks, extract, upstream
from tests.worlds import RECIPES
from tools.recipe_pages.plans import blank

README = upstream()
needs_readme = pytest.mark.skipif(README is None, reason="MMTRT_README names no README")

ROWS = accounts()
SCRIPTS = [row for row in ROWS if row.command.kind == "script"]
MENDED = [row for row in ROWS if row.differs]


def by_name(rows: list[Account]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def of_kind(*kinds: str) -> list[Account]:
    return [row for row in ROWS if row.command.kind in kinds]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    files = tmp_path_factory.mktemp("files")
    for name in "neva.nemo model.nemo projector.nemo file video.mp4 image.png av.png".split():
        (files / name).write_bytes(blank(Path(name).suffix))
    (files / "data").mkdir()
    (files / "data" / "validation.parquet").touch()
    return Book(files)


# The table is whole


def test_no_command_is_without_a_row() -> None:
    lines = [command.line for command in COMMANDS if command.kind != "export"]
    assert list(dict.fromkeys(row.line for row in ROWS)) == lines


@by_name(ROWS)
def test_a_row_is_one_of_its_section_and_says_what_becomes_of_the_command(row: Account) -> None:
    assert row.command.section == row.section
    assert bool(row.stage and row.calls) + bool(row.left_out) + bool(row.joins) == 1
    assert bool(row.why) == bool(row.differs or row.skipped_in)
    if row.command.kind == "script":
        assert row.stage


def test_every_call_accounts_for_something() -> None:
    for title, section in sections().items():
        used = {call for row in section.accounts for call in row.calls}
        assert used == set(section.calls), title


def test_counts() -> None:
    first = {row.line: row for row in reversed(SCRIPTS)}
    repaired = [line for line, row in first.items() if row.differs]
    assert len(first) == 98
    assert (len(first) - len(repaired), len(repaired)) == (79, 19)
    assert Counter(row.command.kind for row in MENDED) == {"script": 29, "clone": 1, "pip": 1}
    assert [row.line for row in ROWS if row.left_out] == [214, 256, 848, 862]
    assert [row.line for row in ROWS if row.joins] == [740, 1085]


@by_name(MENDED)
def test_a_reason_names_what_was_wrong(row: Account) -> None:
    wrong: list[str] = []
    for kind, what in row.differs.items():
        if kind in ("added", "dropped", "changed", "twice", "split"):
            wrong += what
        elif kind == "joins":
            wrong.append(f"before line {what}")
        elif kind == "words":
            wrong.append(" ".join(what))
        else:
            wrong.append(kind)
    assert len(row.why.split()) > 5
    assert any(each in row.why for each in wrong)


# Scripts


@by_name(SCRIPTS)
def test_script(book: Book, row: Account) -> None:
    found = {call: mismatches(book, row, call) for call in row.calls}
    assert not any(found.values()), found


@by_name([row for row in SCRIPTS if row.differs])
def test_what_is_mended_was_wrong(book: Book, row: Account) -> None:
    for kind in row.differs:
        rest = replace(row, differs={k: v for k, v in row.differs.items() if k != kind})
        for call in row.calls:
            assert mismatches(book, rest, call) or list(fed_wrong(book, row, call)), kind


def fed_wrong(book: Book, row: Account, call: str) -> Iterator[str]:
    """Yield what does not find its input where the README's command writes it."""
    for other in SCRIPTS:
        if other.section == row.section and call in other.calls:
            yield from mismatches(book, other, call, without=row.line)


def test_calls_pass_the_rules(book: Book) -> None:
    """What is printed as repaired is not refused."""
    refused = {
        f"{title} {call}: {finding.code} {finding.message}"
        for title, section in sections().items()
        for call in section.calls
        for finding in find(book.plan(title, call))
        if finding.severity == "error"
    }
    assert not refused


def test_what_lies_in_a_directory_is_what_was_written_there(book: Book) -> None:
    section = sections()["Kosmos-2"]
    engine = "tmp/trt_engines/kosmos-2/fp16/1-gpu"

    def lies_before(line: int) -> Flow:
        return lying_at(book.flow(section, "patch14_224", line), engine)

    llm, vision = ("build_llm", ""), ("build_vision", "")
    assert lies_before(572) == {}
    assert lies_before(586) == {"llm": llm}
    assert lies_before(588) == {"llm": llm, "vision": vision}


def test_every_stage_of_a_call_that_runs_a_model_is_in_the_readme(book: Book) -> None:
    """But for directories of links, what the section takes as given, and what it forgets."""
    checked = 0
    for title, section in sections().items():
        for call in section.calls:
            rows = [row for row in section.accounts if call in row.calls]
            given = section.given_to(call).values()
            runs = any(row.stage == "run" and row in SCRIPTS for row in rows)
            if runs and not any(isinstance(what, dict) for what in given):
                said = {row.stage for row in rows} | {what.partition("/")[0] for what in given}
                made = {n.id for n in book.plan(title, call).active() if n.kind != "assemble"}
                assert made <= said | section.added.keys(), (title, call)
                checked += 1
    assert checked == 40


# The other commands


@pytest.mark.parametrize("title", sections())
def test_exports_are_what_a_call_puts_for_the_name(title: str) -> None:
    section = sections()[title]
    names = [section.names_of(call) for call in section.calls]
    for command in COMMANDS:
        if command.section == title and command.kind == "export":
            for word in command.argv[1:]:
                name, _, value = word.partition("=")
                assert any(each.get(name) == value for each in names), word


def test_no_export_is_out_of_a_section() -> None:
    found = [command for command in COMMANDS if command.kind == "export"]
    assert len(found) == 28
    assert {command.section for command in found} <= sections().keys()


@by_name(of_kind("clone"))
def test_clone(book: Book, row: Account) -> None:
    for call in row.calls:
        names, node = sections()[row.section].names_of(call), book.node(row, call)
        url = row.command.argv[row.command.argv.index("clone") + 1]
        if "url" in row.differs:
            theirs, right = row.differs["url"]
            assert url == theirs != right
            url = right
        url = resolved(names, url)
        if isinstance(node.stage, Clone):
            assert node.stage.url == url
            assert url in words(node)
        else:
            assert isinstance(node.stage, Download)
            assert HUB + str(node.stage.repo_id) == url
            assert after(node, "--repo-id") == [node.stage.repo_id]
        # Scripts look for words in the directory's name.
        assert node.stage.model_name == posixpath.basename(clone_target(row.command, names))


@by_name([row for row in of_kind("pip") if row.stage])
def test_pip(book: Book, row: Account) -> None:
    requirement = row.command.argv[-1]
    if "requirements" in row.differs:
        theirs, ours = row.differs["requirements"]
        assert requirement == theirs != ours
        requirement = ours
    for call in row.calls:
        node = book.node(row, call)
        if requirement.endswith(".txt"):
            path = normal(posixpath.join(sections()[row.section].cwd, requirement))
            [script] = after(node, "--requirements-file")
            assert isinstance(script, Script)
            assert f"examples/{script.path}" == path
        else:
            assert requirement in after(node, "--requirement")
    for call in row.skipped_in:
        assert requirement not in after(book.node(row, call), "--requirement")


def test_here_document(book: Book) -> None:
    [row] = [row for row in of_kind("shell") if row.command.argv[0] == "cat"]
    stage = book.node(row, row.calls[0]).stage
    assert isinstance(stage, Write)
    [(name, text)] = stage.files
    assert name in row.command.argv
    assert yaml.safe_load(text) == row.content
    if README is not None:
        [theirs] = [c for c in extract(README.read_text()) if c.line == row.line]
        assert yaml.safe_load("\n".join(theirs.text.splitlines()[1:-1])) == row.content


def test_sed_and_patch_make_the_same_file(book: Book) -> None:
    [row] = [row for row in of_kind("shell") if row.command.argv[0] == "sed"]
    program, name = row.command.argv[2:]
    stage = book.node(row, row.calls[0]).stage
    assert isinstance(stage, Patch)
    assert {edit.file for edit in stage.edits} == {name}
    commands = [re.fullmatch(r"(\d+)s/\.\*/(.*)/", each) for each in program.split(";")]
    assert all(commands)
    lines = [f"line {number}\n" for number in range(1, 51)]
    numbers = [int(each[1]) for each in commands if each]
    before = [line for edit in stage.edits for line in edit.before.splitlines(keepends=True)]
    for number, line in zip(sorted(numbers), before, strict=True):
        lines[number - 1] = line
    ours = "".join(lines)
    for edit in stage.edits:
        assert ours.count(edit.before) == 1
        ours = ours.replace(edit.before, edit.after)
    for each in commands:
        assert each
        lines[int(each[1]) - 1] = each[2] + "\n"
    assert [x for x in ours.splitlines() if x] == [x for x in "".join(lines).splitlines() if x]


def test_wget_of_a_picture_is_a_url_for_the_runner(book: Book) -> None:
    [row] = [row for row in of_kind("shell") if row.command.argv[0] == "wget"]
    for call in row.calls:
        assert after(book.node(row, call), "--image_path") == [row.command.argv[-1]]


def test_words_without_a_command_belong_to_the_one_before() -> None:
    for row in ROWS:
        if row.joins:
            [owner] = [other for other in ROWS if other.line == row.joins]
            assert owner.differs["joins"] == row.line
            assert owner.command.block == row.command.block


def words(node: Node) -> tuple[object, ...]:
    assert node.command is not None
    return node.command.argv


def after(node: Node, flag: str) -> list[object]:
    """Return the words after each place of a flag."""
    argv = words(node)
    return [argv[at + 1] for at, word in enumerate(argv) if word == flag]


# What recipes tell of the mistakes

TOLD = {
    path.stem: [each["line"] for each in yaml.safe_load(path.read_text()).get("repairs", [])]
    for path in sorted((RECIPES / "recipe").glob("*.yaml"))
}
PROSE = {line: title for title, section in sections().items() for line in section.prose}


def lines_of(command: ReadmeCommand) -> range:
    """Return the lines of a command; it ends before the next, or before text that is quoted."""
    later = [other.line for other in COMMANDS if other.line > command.line]
    later += [line for line in PROSE if line > command.line]
    return range(command.line, min(later, default=command.line + 10))


@pytest.mark.parametrize("name", TOLD)
def test_repairs_of_a_recipe_are_of_lines_with_a_command_or_known_text(name: str) -> None:
    commands = {line for command in COMMANDS for line in lines_of(command)}
    assert set(TOLD[name]) <= commands | PROSE.keys()


def test_text_is_named_for_a_repair_alone() -> None:
    assert PROSE.keys() <= {line for lines in TOLD.values() for line in lines}


@by_name([row for row in ROWS if row.differs or row.left_out or row.skipped_in])
def test_a_recipe_tells_what_was_repaired(row: Account) -> None:
    if row.told and not row.repair:
        return  # no mistake: the README asks for it a few lines below
    calls = sections()[row.section].calls
    recipes = {calls[call]["recipe"] for call in row.calls or calls}
    wanted = {row.repair} if row.repair else set(lines_of(row.command))
    assert any(wanted.intersection(TOLD[recipe]) for recipe in recipes), sorted(recipes)


@needs_readme
def test_lines_are_where_the_readme_has_them() -> None:
    assert README is not None
    text = README.read_text()
    lines = ["", *text.splitlines()]
    fenced = {n for b in blocks(text) for n in range(b.first_line, b.first_line + len(b.lines))}
    for name, found in TOLD.items():
        for line in found:
            assert lines[line].strip(), (name, line)
            assert (line in fenced) != (line in PROSE), (name, line)
    for row in ROWS:
        if row.told:
            assert re.search("copy|max_encoder_input_len", lines[row.told])


@needs_readme
def test_names_stand_in_the_readme() -> None:
    assert README is not None
    text = README.read_text().replace("\N{NON-BREAKING HYPHEN}", "-")
    for section in sections().values():
        for call in section.calls:
            for name, value in section.names_of(call).items():
                assert name.startswith("<") or value in text, value


# README numbers

LIMITS = {
    "trtllm-build": {
        "--max_prompt_embedding_table_size": "max_multimodal_len",
        "--max_encoder_input_len": "max_encoder_input_len",
    },
    "models/core/multimodal/build_multimodal_engine.py": {
        "--max_batch_size": "vision.max_batch_size"
    },
}
STATED = {("llava_onevision", "max_multimodal_len"), ("llava_onevision", "vision.max_batch_size")}


def test_readme_numbers(book: Book) -> None:
    numbers: dict[str, set[int]] = {}
    stated = set()
    for row in SCRIPTS:
        changed = row.fixes("changed").keys() - {"--output_dir", "--lora_dir"}
        for call in () if changed else row.calls:
            section, plan = sections()[row.section], book.plan(row.section, call)
            asked = readme_command(row, section.names_of(call), section.cwd)
            for flag, name in LIMITS.get(asked.tool, {}).items():
                limit = plan.recipe.sizing.limits[name]
                if flag in asked.flags:
                    [number] = asked.flags[flag]
                    assert limit.value == int(str(number)), (row.name, call, name)
                    numbers.setdefault(name, set()).add(int(str(number)))
                    if limit.source != "derived":
                        stated.add((plan.recipe.name, name))
                elif name.startswith("vision") and has_engine(book.node(row, call)):
                    usual = flags.defaults(asked.tool, TRTLLM)[flag]
                    assert (limit.value or 0) <= usual, (row.name, call)
    print(f"stated by the recipe: {sorted(stated)}\nread: {numbers}")
    assert stated == STATED
    assert {name: len(found) for name, found in numbers.items()} == {
        "max_multimodal_len": 13,
        "max_encoder_input_len": 4,
        "vision.max_batch_size": 4,
    }


def has_engine(node: Node) -> bool:
    assert node.command is not None
    return any(output.endswith(".engine") for output in node.command.outputs.values())


@pytest.mark.parametrize("title", [s.title for s in sections().values() if s.limits])
def test_numbers_of_the_text(book: Book, title: str) -> None:
    for line, call, flag, number in sections()[title].limits:
        limit = book.plan(title, call).recipe.sizing.limits[flag.removeprefix("--")]
        assert (limit.value, limit.source) == (number, "derived")
        if README is not None:
            text = README.read_text().splitlines()[line - 1]
            assert re.findall(r"`(\w+)` as `(\d+)`", text) == [
                (flag.removeprefix("--"), str(number))
            ]
