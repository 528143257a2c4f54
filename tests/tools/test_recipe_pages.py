from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from mmtrt.config.root import recipes_root
from mmtrt.report import markdown as md
from tests.worlds import ROOT
from tools.recipe_pages.page import INDEX, main, pages, write
from tools.recipe_pages.plans import Subject, subjects

COMMITTED = ROOT / "docs/recipes"
NAMES = sorted(path.stem for path in (recipes_root() / "recipe").glob("*.yaml"))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


@pytest.fixture(scope="module")
def every(tmp_path_factory) -> dict[str, Subject]:
    return {each.name: each for each in subjects(tmp_path_factory.mktemp("stand-ins"))}


@pytest.mark.parametrize("name", [INDEX, *(f"{name}.md" for name in NAMES)])
def test_committed_pages_are_what_is_generated_now(made, name):
    place = COMMITTED / name
    current = place.is_file() and place.read_text(encoding="utf-8") == made[name]
    assert current, f"docs/recipes/{name} is stale: run `make docs`"


def test_no_page_is_left_of_a_recipe_that_is_gone(made):
    left = sorted({path.name for path in COMMITTED.glob("*.md")} - set(made))
    assert not left, f"{left} belong to no recipe: run `make docs`"


def test_pages_hold_nothing_of_this_machine(made):
    for place in {str(ROOT), tempfile.gettempdir(), str(Path.home())} - {"/"}:
        for name, text in made.items():
            assert f"{place}/" not in text, name


def test_pages_are_the_same_from_another_directory(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert pages() == made


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_every_command_and_every_limit(made, every, name):
    subject, text = every[name], made[f"{name}.md"]
    for node in subject.launched().active():
        assert f"**`{node.id}`**" in text
    for limit, found in subject.recipe().sizing.limits.items():
        value = "-" if found.value is None else found.value
        assert f"| `{limit}` | {value} |" in text
    for variant in subject.file.variants:
        assert f"| `{variant}` |" in text
    for repair in subject.file.repairs:
        assert f"?plain=1#L{repair.line})" in text


@pytest.mark.parametrize("name", [INDEX, *(f"{name}.md" for name in NAMES)])
def test_rows_have_as_many_cells_as_their_heading(made, name):
    columns = 0
    for line in made[name].splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not columns or cells == columns, line
        columns = cells


@pytest.mark.parametrize("name", NAMES)
def test_pictures_draw_only_boxes_that_they_name(made, name):
    pictures = re.findall(r"```mermaid\n(.*?)```", made[f"{name}.md"], re.DOTALL)
    assert pictures
    for picture in pictures:
        first, *lines = picture.splitlines()
        assert first == "flowchart LR"
        boxes = {found[1] for line in lines if (found := re.match(r'  (\w+)\["[^"]+"\]', line))}
        arrows = [re.match(r'  (\w+) -\.?->\|"[^"]*"\| (\w+)$', line) for line in lines]
        drawn = {name for arrow in arrows if arrow for name in arrow.groups()}
        assert drawn <= boxes
        rest = [line for line, arrow in zip(lines, arrows) if not arrow and "[" not in line]
        assert rest in ([], ["  classDef skipped stroke-dasharray: 4 4"])


def test_limits_tell_which_override_moves_them(made):
    assert (
        "| `workload.batch_size=2` | `max_batch_size` 2, `max_multimodal_len` 1152, "
        "`vision.max_batch_size` 2 |"
    ) in made["llava.md"]
    assert "workload.audio_seconds" in made["phi4_multimodal.md"]
    assert "workload.audio_seconds" not in made["llava_onevision.md"]


def test_another_graph_has_a_picture_and_commands_of_its_own(made):
    assert made["blip2.md"].count("```mermaid") == 4  # OPT and T5, each also native
    details = made["blip2.md"].partition("<details>")[2]
    assert "**`build_encoder`** (build_llm) reads `checkpoint` from `convert`:" in details


def test_a_prompt_is_shown_as_it_is(made):
    assert r"| `run.prompt` | `\n Which city is this?` |" in made["llava.md"]
    assert r"| `run.prompt` | `<\|image\|><\|begin_of_text\|>If I had" in made["mllama.md"]


def test_stale_pages_are_removed_and_others_are_not(tmp_path, made, monkeypatch):
    monkeypatch.setattr("tools.recipe_pages.page.pages", lambda: made)
    gone, own = tmp_path / "gone.md", tmp_path / "own.md"
    gone.write_text(made["llava.md"])
    own.write_text("# My notes\n")
    assert {path.name for path in write(tmp_path)} == set(made)
    assert not gone.exists()
    assert own.exists()


def test_without_a_directory_the_usage_is_told(capsys):
    assert main([]) == 2
    assert "recipe_pages.page DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        (r"a\b", r"a\\b"),
        ("max_batch_size _x_", r"max_batch_size \_x\_"),
        ("a | b * <c> [d] `e`", r"a \| b \* \<c> \[d\] \`e\`"),
        ("two\n  lines", "two lines"),
    ],
)
def test_text_is_not_taken_for_markup(plain, shown):
    assert md.text(plain) == shown


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        (r"\n Which", r"`\n Which`"),
        ("a`b", "`` a`b ``"),
        (" [x] ", "`  [x]  `"),
        ("--x", "`--x`"),
    ],
)
def test_code_keeps_what_it_is(plain, shown):
    assert md.code(plain) == shown


def test_a_pipe_ends_no_cell():
    assert md.table(("A",), [("`a|b`",), (r"c \| d",), ("",)]) == (
        "| A |\n|---|\n| `a\\|b` |\n| c \\| d |\n| - |"
    )


def test_a_fence_is_longer_than_what_it_holds():
    assert md.fenced("```\n", "sh") == "````sh\n```\n````"
