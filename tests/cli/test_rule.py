from __future__ import annotations

import json

import pytest

from mmtrt.cli import dispatch
from mmtrt.rules import codes
from mmtrt.rules.codes import RULES


def test_all_rules_are_listed(capsys):
    assert dispatch(["rule"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [[r.code, r.name] for r in RULES.values()]


@pytest.mark.parametrize("code", RULES)
def test_a_rule_prints_its_documentation(capsys, code):
    assert dispatch(["rule", code]) == 0
    out = capsys.readouterr().out
    assert out == f"{code} {RULES[code].name}\n\n{RULES[code].documentation}\n"


def test_case_and_name_do_not_matter(capsys):
    dispatch(["rule", "siz101"])
    by_code = capsys.readouterr().out
    dispatch(["rule", "multimodal-len-too-small"])
    assert capsys.readouterr().out == by_code


def test_json_of_one_and_of_all(capsys):
    dispatch(["rule", "SIZ101", "--json"])
    assert json.loads(capsys.readouterr().out)["code"] == "SIZ101"
    dispatch(["rule", "--json"])
    assert len(json.loads(capsys.readouterr().out)["rules"]) == len(RULES)


@pytest.mark.parametrize(
    ("asked", "near"), [("SIZ11x", "SIZ121"), ("unpined-revision", "MDL101"), ("xyzzy", "")]
)
def test_an_unknown_rule_is_told_with_the_nearest(capsys, asked, near):
    assert dispatch(["rule", asked]) == 2
    assert f"fix: mmtrt rule {near}".rstrip() in capsys.readouterr().err


def test_an_error_of_the_store_is_no_rule(capsys):
    assert dispatch(["rule", "ART170"]) == 2
    assert "a stored file is missing" in capsys.readouterr().err


def test_a_retired_code_tells_what_became_of_it(capsys, monkeypatch):
    monkeypatch.setitem(codes.RETIRED, "SIZ199", "SIZ101 covers it since 0.2")
    assert dispatch(["rule", "siz199"]) == 0
    assert capsys.readouterr().out == "SIZ199 is no longer used: SIZ101 covers it since 0.2\n"
