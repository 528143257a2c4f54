"""Comments that silence findings, and comments that do not do what they say."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from mmtrt.cli import dispatch
from mmtrt.config.compose import compose
from mmtrt.config.recipe import resolve
from mmtrt.errors import RuleViolation
from mmtrt.plan.build import make_plan
from mmtrt.report.findings import to_github, to_sarif
from mmtrt.rules import ignores
from mmtrt.rules.check import check_plan, find_all
from mmtrt.rules.ignores import comments
from tests.worlds import HOST, RECIPES

POSITIONS = "  max_seq_len: 2560\n"


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(*replacements: tuple[str, str], to: str = "mine") -> Path:
    """Write the LLaVA recipe with changes, as a user's own."""
    text = (RECIPES / "recipe/llava.yaml").read_text()
    for old, new in (("name: llava\n", f"name: {to}\n"), *replacements):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = Path(f"my/recipe/{to}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def plan_of(*words: str, recipe: str = "mine"):
    overrides = (f"recipe={recipe}", *words)
    composed = compose(overrides, [Path("my")])
    found = resolve(composed.settings, overrides, composed.where, (Path("my"),))
    return make_plan(found, replace(HOST, lookup=False))


def codes(*words: str) -> tuple[list[str], list[str]]:
    found = find_all(plan_of(*words))
    return [f.code for f in found.open], [s.finding.code for s in found.silenced]


@pytest.mark.parametrize(
    "line",
    [
        "  max_seq_len: 9000  # mmtrt: ignore[SIZ105] the rope is scaled\n",
        "  max_seq_len: 9000  #mmtrt:ignore [ SIZ105 ]   the rope is scaled  \n",
        "  max_seq_len: 9000  # of a kind; # mmtrt: ignore[SIZ105] the rope is scaled\n",
        "  # mmtrt: ignore[SIZ105] the rope is scaled\n  max_seq_len: 9000\n",
        "  # mmtrt: ignore[SIZ105] the rope is scaled\n  # and more\n\n  max_seq_len: 9000\n",
    ],
)
def test_comment_silences_a_finding_on_its_line_or_below(line):
    write((POSITIONS, line))
    found = find_all(plan_of())
    assert found.open == []
    assert [(s.finding.code, s.reason) for s in found.silenced] == [
        ("SIZ105", "the rope is scaled")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "  max_seq_len: 9000\n  # mmtrt: ignore[SIZ105] below the value\n",
        "  max_batch_size: 1  # mmtrt: ignore[SIZ105] of another value\n  max_seq_len: 9000\n",
    ],
)
def test_comment_elsewhere_silences_nothing(line):
    write(("  max_batch_size: 1\n", ""), (POSITIONS, line))
    opened, silenced = codes()
    assert opened == ["CFG132", "SIZ105"] and silenced == []


def test_comment_behind_a_key_is_about_what_begins_below():
    write(
        ("  7b:\n", "  7b:  # mmtrt: ignore[MDL101] it never moves\n"),
        ('    revision: "b234b804b114d9e37bb655e11cbbb5f5e971b7a9"\n', ""),
    )
    assert codes() == ([], ["MDL101"])


def test_several_codes_of_one_comment():
    line = "  max_seq_len: 9000  # mmtrt: ignore[SIZ104, SIZ105] both are known\n"
    write((POSITIONS, line), ("  max_input_len: 2048\n", "  max_input_len: 9000\n"))
    assert codes() == ([], ["SIZ104", "SIZ105"])


def test_silenced_error_does_not_stop_a_run():
    comment = "  # mmtrt: ignore[SIZ103] the prompt is made elsewhere\n"
    write(("  max_input_len: 2048\n", f"{comment}  max_input_len: 500\n"))
    checked = check_plan(plan_of())
    assert checked.findings == ()
    write(("  max_input_len: 2048\n", "  max_input_len: 500\n"))
    with pytest.raises(RuleViolation):
        check_plan(plan_of())


def test_override_cannot_be_silenced():
    write((POSITIONS, "  max_seq_len: 2560  # mmtrt: ignore[SIZ105] the rope is scaled\n"))
    assert codes("max_seq_len=9000") == (["SIZ105"], [])


def test_comment_without_reason_is_told_and_silences_nothing():
    path = write((POSITIONS, "  max_seq_len: 9000  # mmtrt: ignore[SIZ105]\n"))
    found = find_all(plan_of())
    line = path.read_text().splitlines().index("  max_seq_len: 9000  # mmtrt: ignore[SIZ105]") + 1
    assert [f.code for f in found.open] == ["CFG130", "SIZ105"] and found.silenced == []
    assert found.open[0].render() == textwrap.dedent(
        f"""\
        warning[CFG130]: this comment silences nothing: it has no reason
          at: {path}:{line}:22
          why: who reads it later must be able to tell what was accepted, and why
          fix: write # mmtrt: ignore[SIZ105] <why it is fine here>"""
    )


@pytest.mark.parametrize("text", ["", "[] a reason", " SIZ105 a reason", "[SIZ105 a reason"])
def test_comment_without_codes_is_told(text):
    write((POSITIONS, f"  max_seq_len: 9000  # mmtrt: ignore{text}\n"))
    assert codes() == (["CFG130", "SIZ105"], [])


@pytest.mark.parametrize(
    ("code", "told", "fix"),
    [
        ("SIZ501", "there is no rule SIZ501", "write SIZ"),
        ("siz105", "there is no rule siz105", "write SIZ105"),
        ("anything", "there is no rule anything", "mmtrt rule "),
        ("SEC101", "SEC101 cannot be silenced", "take SEC101 out of the comment"),
        ("HST103", "HST103 cannot be silenced", "take HST103 out of the comment"),
    ],
)
def test_code_that_no_comment_can_silence(code, told, fix):
    write((POSITIONS, f"  max_seq_len: 9000  # mmtrt: ignore[SIZ105, {code}] a reason\n"))
    found = find_all(plan_of())
    assert [f.message for f in found.open] == [told]
    assert found.open[0].fix.startswith(fix)
    assert found.open[0].severity == "warning"
    assert [s.finding.code for s in found.silenced] == ["SIZ105"]


def test_pickled_weights_cannot_be_silenced():
    write(
        (
            "  download:\n    kind: download\n",
            "  download:\n    kind: download\n"
            "    allow_pickle: true  # mmtrt: ignore[SEC101] I know them\n",
        )
    )
    opened, silenced = codes()
    assert "SEC101" in opened and "CFG133" in opened and silenced == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), True),
        (("variant=7b",), True),
        (("quant=int8_wo",), False),
        (("tp=1",), False),
    ],
)
def test_comment_is_called_needless_only_where_the_file_is_taken_as_it_stands(words, told):
    write(
        (POSITIONS, "  max_seq_len: 9000\n"),
        ("  max_batch_size: 1\n", "  max_batch_size: 1  # mmtrt: ignore[SIZ101] once it was\n"),
    )
    opened, _ = codes(*words)
    assert ("CFG132" in opened) is told and "SIZ105" in opened


@pytest.mark.parametrize(("variant", "told"), [("7b", True), ("13b", False)])
def test_comment_about_another_variant_is_not_judged(variant, told):
    write(
        (POSITIONS, "  max_seq_len: 9000\n"),
        (
            "  7b:\n    repo_id",
            "  7b:\n    # mmtrt: ignore[MDL101] its branch does not move\n    repo_id",
        ),
    )
    opened, _ = codes(f"variant={variant}")
    assert ("CFG132" in opened) is told


def test_comment_about_machine_or_backend_is_not_judged():
    comment = "  max_seq_len: 9000  # mmtrt: ignore[SIZ105, ENG201, ENV101] as it is\n"
    write((POSITIONS, comment))
    assert codes() == ([], ["SIZ105"])


def test_comments_inside_of_texts_are_none(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        textwrap.dedent(
            """\
            a: "# mmtrt: ignore[SIZ101] quoted"
            b: |
              # mmtrt: ignore[SIZ102] a block
            c: x#mmtrt:ignore[SIZ103] a plain text
            d: 'two
              # mmtrt: ignore[SIZ104] lines'
            ä: [1, 2]  # mmtrt: ignore[SIZ105] a comment
            """
        )
    )
    assert [(c.codes, c.line, c.column, c.reason) for c in comments(path)] == [
        (("SIZ105",), 7, 12, "a comment")
    ]


@pytest.mark.parametrize(
    "content", [b"", b"\xff# mmtrt: ignore[X] y", b"a: [ # mmtrt: ignore[X] y"]
)
def test_file_that_cannot_be_read_has_no_comments(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert comments(path) == comments(tmp_path / "missing.yaml") == comments(tmp_path) == []


def test_no_file_is_read_without_findings(monkeypatch):
    write()
    plan = plan_of()
    monkeypatch.setattr(ignores, "comments", lambda path: pytest.fail(str(path)))
    assert find_all(plan).open == []


# Formats


@pytest.fixture
def silenced():
    write(
        (POSITIONS, "  max_seq_len: 9000  # mmtrt: ignore[SIZ105] the rope is scaled\n"),
    )
    return ["check", "recipe=mine", "-cd", "my", "tp=1"]


def test_text_counts_what_is_silenced(silenced, capsys):
    assert dispatch(silenced) == 0
    out = capsys.readouterr().out
    assert out.endswith(" warnings, 1 silenced\n") and "SIZ105" not in out


def test_json_lists_what_is_silenced_with_its_reason(silenced, capsys):
    assert dispatch([*silenced, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "SIZ105" not in [each["code"] for each in document["findings"]]
    (each,) = document["silenced"]
    assert each["code"] == "SIZ105" and each["silenced"] == "the rope is scaled"
    assert each["at"].startswith("my/recipe/mine.yaml:")


def test_sarif_marks_what_is_silenced(silenced):
    found = find_all(plan_of())
    (run,) = to_sarif(found.open, found.silenced)["runs"]
    (result,) = run["results"]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "the rope is scaled"}]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["SIZ105"]
    assert to_github(found.open) == ""


def test_sarif_knows_findings_about_comments():
    write((POSITIONS, "  max_seq_len: 9000  # mmtrt: ignore[SIZ105]\n"))
    found = find_all(plan_of())
    (run,) = to_sarif(found.open, found.silenced)["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["CFG130", "SIZ105"]
    assert "title=CFG130::" in to_github(found.open)
