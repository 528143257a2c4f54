"""Planted credentials must not come out anywhere: not in store, records, terminal or papers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmtrt.artifacts.store import Store
from mmtrt.cli import dispatch
from tests.provenance.conftest import mmtrt
from tests.report.records import record
from tests.worlds import world

PLANTED = {
    "HF_TOKEN": "hf_plantedHubToken0123456789abcdefgh",
    "HUGGING_FACE_HUB_TOKEN": "plantedOlderHubToken0123",
    "AWS_SECRET_ACCESS_KEY": "wJalr/plantedAWS+KEY/bPxRfiCYEXAMPLE",
    "OPENAI_API_KEY": "sk-planted0123456789abcdefghijklmn",
    "PIP_INDEX_URL": "https://bob:plantedIndexPw@pypi.example/simple",
    "HTTPS_PROXY": "http://proxyuser:plantedProxyPw@proxy.example:3128",
    "GIT_PASSWORD": "plantedGitPassword",
}
URL = (
    "https://alice:plantedUrlPw@host.example/a.png?X-Amz-Signature=plantedSig0123&token=plantedTok"
)
WORDS = ("recipe=llava", "backend=fake", f'run.image="{URL}"')
NETRC = "machine hub.example login carol password plantedNetrcPw\n"

VERBS = [
    ("plan", "--json", *WORDS),
    ("plan", "-v", *WORDS),
    ("check", "--json", *WORDS),
    ("check", "--format", "sarif", *WORDS),
    ("size", *WORDS),
    ("size", "--fix", *WORDS),
    ("why", "run", *WORDS),
    ("export", "--format", "sh", *WORDS),
    ("export", "--format", "sh", "-o", "build.sh", *WORDS),
    ("export", "--format", "mermaid", *WORDS),
    ("lock", *WORDS),
    ("run", "hf_tokn=hf_plantedHubToken0123456789abcdefgh", *WORDS),
    ("log", "--json"),
    ("log", "run"),
    ("report",),
    ("report", "--json", "-o", "report.json"),
    ("report", "--html"),
    ("plan", "-o", "saved.json", *WORDS),
    ("diff", "latest", "latest"),
    ("verify", "--json", "--rebuild", "convert,run"),
    ("cache", "ls", "--json"),
    ("provenance", "-o", "slsa.json"),
    ("provenance", "--format", "cyclonedx"),
    ("pack",),
    ("doctor", "--json"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a directory with a run whose request had a signed address."""
    cwd = tmp_path_factory.mktemp("secrets")
    places = {"XDG_CACHE_HOME": str(cwd / "cache"), "NETRC": str(cwd / "netrc")}
    done = mmtrt(*WORDS, cwd=cwd, **PLANTED, **places)
    (cwd / "printed.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr
    return cwd


def leaks(root: Path) -> list[str]:
    """Return the files below a directory that hold something planted, by name or content."""
    return [
        str(path)
        for path in root.rglob("*")
        if b"planted" in bytes(path) or (path.is_file() and b"planted" in path.read_bytes())
    ]


def test_a_run_keeps_and_prints_none(home):
    assert leaks(home) == []
    manifest = next((home / "outputs/store/run").glob("*/manifest.json")).read_text()
    assert "https://***@host.example/a.png?X-Amz-Signature=***&token=***" in manifest


def test_no_verb_prints_or_writes_any(home, monkeypatch, capfd):
    monkeypatch.chdir(home)
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    for words in VERBS:
        dispatch(list(words))
        out, err = capfd.readouterr()
        assert "planted" not in (out + err).replace("hf_tokn=hf_planted", ""), words
        assert out or err, words
    assert leaks(home) == []


def test_hydras_own_switches_print_none(home):
    for words in (
        ("--cfg", "job", *WORDS),
        ("-m", *WORDS, "run.max_new_tokens=4,5", "until=convert"),
    ):
        places = {"XDG_CACHE_HOME": str(home / "cache")}
        done = mmtrt(*words, cwd=home, **PLANTED, **places)
        assert done.returncode == 0, done.stderr
        assert "planted" not in done.stdout + done.stderr
    assert leaks(home) == []


def test_two_signatures_of_one_address_are_one_key(home):
    """A signed address expires; what lies behind it does not change with its signature."""
    other = URL.replace("plantedSig0123", "anotherSig999").replace("plantedUrlPw", "anotherPw99")
    places = {"XDG_CACHE_HOME": str(home / "cache")}
    done = mmtrt(
        "recipe=llava", "backend=fake", f'run.image="{other}"', "--json", cwd=home, **places
    )
    statuses = {row["id"]: row["status"] for row in json.loads(done.stdout)["stages"]}
    assert statuses["run"] == "hit"


def test_a_traceback_prints_none(home):
    words = ("--debug", "plan", "hf_tokn=1", *WORDS)
    done = mmtrt(*words, cwd=home, **PLANTED, XDG_CACHE_HOME=str(home / "cache"))
    assert "Traceback" in done.stderr and "planted" not in done.stderr


SAYS = """\
echo fetching https://dave:plantedEchoPw@git.example/r.git
echo it is plantedEchoPw
printf 'half planted' >&2; printf 'EchoPw whole\\n' >&2
echo Authorization: Bearer plantedBearer0123456789
echo '{"api_key": "plantedJsonKey"}' >&2
touch $1/done
"""


def test_a_tool_that_echoes_its_address_is_redacted(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])
    w = world(tmp_path / "store", ("clone", SAYS), ("broken", f"{SAYS} exit 3", ["clone"]))
    run = record(tmp_path, w)
    # The script itself, with the words of its printf, stands in the command.
    found = [path for path in leaks(tmp_path) if b"plantedEchoPw" in Path(path).read_bytes()]
    found += [path for path in leaks(tmp_path) if Path(path).name.endswith(".log")]
    assert found == []
    logs = [path.read_text() for path in tmp_path.rglob("std*.log")]
    assert len(logs) == 4, "of the stage that worked and of the one that failed"
    assert logs[0].count("***") >= 2
    capfd.readouterr()
    for words in (["log", str(run), "clone"], ["log", str(run), "broken"], ["report", str(run)]):
        dispatch(words)
    assert "plantedEchoPw" not in capfd.readouterr().out


def test_the_command_itself_gets_the_credentials(tmp_path):
    """What is kept is redacted; what runs is not."""
    script = 'test "$(printf %s https://u:pw123456@h | wc -c)" = 20 && touch $1/ok'
    record(tmp_path, world(tmp_path / "store", ("fetch", script)))
    (artifact,) = Store(tmp_path / "store").artifacts()
    assert [entry.path for entry in artifact.manifest.files] == ["ok"]
    assert "pw123456" not in (artifact.directory / "manifest.json").read_text()


def test_variables_are_noted_by_name_only(fake_home, tmp_path, monkeypatch):
    (path,) = (fake_home / "outputs/store/convert").glob("*/manifest.json")
    made = json.loads(path.read_text())["made"]
    assert made["environment"]["PYTHONUNBUFFERED"] == "1"
    assert not {"HOME", "USER", "PATH", "HF_TOKEN"} & made["environment"].keys()
