from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

import mmtrt.tasks
from mmtrt.tasks.messages import CODES, TaskError, TemporaryError, listed, quoted, run_stage, scrub


def raising(error: BaseException) -> int:
    def work() -> None:
        raise error

    return run_stage(work)


def test_message_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    other = TaskError("also", code="ART102")
    error = TaskError(
        "no", code="ART101", why="so", fix="do", blocks=[("seen", "a\nb")], also=[other]
    )
    assert raising(error) == 1
    assert capsys.readouterr().err == (
        "error[ART101]: no\n  why: so\n  seen:\n    | a\n    | b\n  fix: do\nerror[ART102]: also\n"
    )


def test_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage(lambda: None) == 0
    assert raising(TemporaryError("no", code="NET101")) == 75
    assert raising(KeyboardInterrupt()) == 130
    assert raising(OSError(errno.ENOSPC, "No space left on device", "/disk")) == 1
    assert raising(PermissionError(errno.EACCES, "Permission denied", "/etc/x")) == 1
    shown = capsys.readouterr().err
    assert "error[ART105]: the disk is full `/disk`" in shown
    assert "error[ART106]: cannot read or write `/etc/x`" in shown


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token my-secret.", "token ***."),
        (f"hf_{'a' * 34} is one", "*** is one"),
        ("hf_models/checkpoints", "hf_models/checkpoints"),
        ("https://cdn/x?Signature=abc&b=1 died", "https://cdn/x died"),
        ("http://me:pass@proxy:80/", "http://***@proxy:80/"),
    ],
)
def test_secrets_are_taken_out(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-secret")
    assert scrub(text) == shown


def test_names_cannot_forge_lines() -> None:
    assert quoted("a\nerror[X]: \x1b[31m") == "a\\nerror[X]: \\x1b[31m"
    assert quoted("ünï 'x'") == "ünï 'x'"
    assert listed([str(n) for n in range(7)], limit=2) == "`0`, `1` and 5 more"


def test_every_code_is_listed_and_used() -> None:
    folder = Path(mmtrt.tasks.__file__).parent
    texts = [path.read_text() for path in folder.glob("*.py") if path.name != "messages.py"]
    texts.append((folder / "messages.py").read_text().split("CODES = ")[1].split("\n}\n")[1])
    used = set(re.findall(r'"((?:ART|MDL|NET|SEC)\d{3})"', "".join(texts)))
    assert used == set(CODES)
