from __future__ import annotations

import json

from mmtrt.cli import dispatch


def test_this_host_is_examined(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert dispatch(["doctor", "--store", str(tmp_path / "store")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mmtrt ")
    assert "not there yet; can be made" in out
    assert "token not set" in out
    assert err == ""


def test_json_says_what_is_missing(capsys, tmp_path):
    assert dispatch(["doctor", "--json", f"paths.store={tmp_path}"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert document["store"]["root"] == str(tmp_path)
    for row in document["backends"]:
        assert row["ready"] == (not row["missing"])


def test_a_word_is_refused(capsys):
    assert dispatch(["doctor", "please"]) == 2
