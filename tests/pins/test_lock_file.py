"""The file itself: one fact a line, whole at any moment, nobody's entry lost."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtrt.errors import LockStale
from mmtrt.pins.entry import BackendPin, Entry, EnvPin, FilePin, GitPin, HubPin
from mmtrt.pins.lock_file import LockFile
from mmtrt.pins.lock_text import lock_text

ENTRY = Entry(
    overrides=["recipe=llava 'run.prompt=\"a: b\"'", "recipe=llava quant=int4_wo"],
    mmtrt="0.1.0",
    key_schema=1,
    backend=BackendPin(name="trtllm", engine="tensorrt", because="TensorRT-LLM 1.2.1 is installed"),
    gpu={"sm": 90, "tensorrt": "10.13"},
    tools={"tensorrt-llm": "1.10", "python": "3.12"},
    patches={"patch": "sha256:" + "1" * 64},
    local={"projector": "2" * 64},
    downloads={
        "download": HubPin(
            repo="a/b",
            revision="main",
            commit="1" * 40,
            include=["*.json"],
            files=[
                FilePin(name="config.json", size=7, digest="git-sha1:" + "3" * 40),
                FilePin(name="no", size=1, digest="sha256:" + "4" * 64),
            ],
        )
    },
    clones={"examples": GitPin(url="https://x/y.git", revision="v1", commit="12e4567" + "0" * 33)},
    environments={"env": EnvPin(requirements=["a>1"], packages=["a==2 --hash=sha256:" + "5" * 64])},
)

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.just("12e45"))


def test_what_is_written_is_read(tmp_path):
    lock = LockFile(tmp_path / "mmtrt.lock")
    assert lock.read() == {}
    assert lock.update(lambda old: {"llava/7b": (ENTRY,)})
    assert lock.read() == {"llava/7b": (ENTRY,)}
    assert not lock.update(lambda old: old)
    assert [path.name for path in tmp_path.iterdir()] == ["mmtrt.lock"]


@settings(max_examples=30, deadline=None)
@given(names, st.dictionaries(names, texts, max_size=3), st.lists(texts, max_size=3))
def test_any_text_comes_back(name, tools, overrides):
    entry = replace(ENTRY, tools=tools, overrides=[shlex.join(overrides)])
    text = lock_text({name: (entry,)})
    assert LockFile(None)._parsed(text) == {name: (entry,)}  # type: ignore[arg-type]
    assert lock_text(LockFile(None)._parsed(text)) == text  # type: ignore[arg-type]


def test_a_file_of_a_download_is_a_line_and_versions_stay_text():
    text = lock_text({"llava/7b": (ENTRY,)})
    rows = [line.strip() for line in text.splitlines() if "config.json" in line]
    assert rows == [f"- {{digest: 'git-sha1:{'3' * 40}', name: config.json, size: 7}}"]
    assert yaml.safe_load(text)["entries"]["llava/7b"]["tools"]["tensorrt-llm"] == "1.10"


def test_order_does_not_depend_on_the_order_of_writing():
    entries = dict.fromkeys(("b/x", "a/y", "a/b"), (ENTRY,))
    assert lock_text(entries) == lock_text(dict(reversed(entries.items())))


def test_two_branches_that_change_other_entries_merge(tmp_path):
    entries = {f"{name}/x": (ENTRY,) for name in ("blip2", "llava", "vila")}
    ours = entries | {"blip2/x": (replace(ENTRY, tools={"torch": "2"}),)}
    theirs = entries | {"vila/x": (replace(ENTRY, mmtrt="0.2.0"),)}
    for name, each in (("base", entries), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text(lock_text(each))
    merge = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(merge, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == lock_text(ours | {"vila/x": theirs["vila/x"]})
    # Where both change the same, nobody is served half of each.
    (tmp_path / "theirs").write_text(lock_text(entries | {"blip2/x": (replace(ENTRY, tools={}),)}))
    text = subprocess.run(merge, cwd=tmp_path, capture_output=True, text=True).stdout
    (tmp_path / "mmtrt.lock").write_text(text)
    with pytest.raises(LockStale, match="merge"):
        LockFile(tmp_path / "mmtrt.lock").read()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 3\nentries: {}\nnew: 1\n", "newer mmtrt"),
        ("schema: 1\nentries: [\n", "no YAML"),
        ("", "cannot be used"),
        ("schema: 2\nentries: {a/b: {mmtrt: 1}}\n", "entries.a/b.mmtrt"),
        (lock_text({"a/b": (ENTRY,)}).replace("'1.10'", "1.10"), "quote it"),
        (lock_text({"a/b": (ENTRY,)}).partition("size: 7")[0], "no YAML"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_kept(tmp_path, text, words):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.path.write_text(text)
    with pytest.raises(LockStale) as caught:
        lock.update(lambda old: {"x/y": (ENTRY,)})
    assert caught.value.code == "LCK103" and caught.value.exit_code == 4
    assert words in caught.value.render()
    assert lock.path.read_text() == text


WRITER = """\
import sys
from dataclasses import replace
from pathlib import Path
from mmtrt.pins.lock_file import LockFile
from tests.pins.test_lock_file import ENTRY
lock, name, count = LockFile(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print(flush=True)
for index in range(count):
    many = [f"recipe={index}"] * 500
    lock.update(lambda old: {**old, name: (replace(ENTRY, overrides=many),)})
"""


def writer(lock: LockFile, name: str, count: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", WRITER, str(lock.path), name, str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


DYING = """\
import os, signal, sys
from pathlib import Path
from mmtrt.pins.lock_file import LockFile
from tests.pins.test_lock_file import ENTRY, OTHER
moment, lock = sys.argv[1], LockFile(Path(sys.argv[2]))
write, fsync, replace = os.write, os.fsync, Path.replace
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if moment == "write":
    os.write = lambda fd, data: die(write(fd, bytes(data)[:100]))
elif moment == "sync":
    os.fsync = die
elif moment == "before":
    Path.replace = die
else:
    Path.replace = lambda self, target: die(replace(self, target))
lock.update(lambda old: {**old, "new/entry": (OTHER,)})
"""
OTHER = replace(ENTRY, overrides=["recipe=other"])


@pytest.mark.parametrize("moment", ["write", "sync", "before", "after"])
def test_killed_while_writing_leaves_the_old_file_or_the_new(tmp_path, moment):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.update(lambda old: {"a/b": (ENTRY,)})
    done = subprocess.run([sys.executable, "-c", DYING, moment, str(lock.path)])
    assert done.returncode == -signal.SIGKILL
    assert sorted(lock.read()) == ["a/b", *(["new/entry"] if moment == "after" else [])]
    # What the dead one held is free.
    assert lock.update(lambda old: {"c/d": (ENTRY,)})
    assert lock.read() == {"c/d": (ENTRY,)}


def test_no_entry_is_lost_when_several_write_at_once(tmp_path):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.update(lambda old: {"old/one": (ENTRY,)})
    running = [writer(lock, f"new/{index}", 3) for index in range(3)]
    assert [process.wait() for process in running] == [0] * 3
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    found = lock.read()
    assert sorted(found) == [*(f"new/{index}" for index in range(3)), "old/one"]
    assert all(found[f"new/{index}"][0].overrides[0] == "recipe=2" for index in range(3))
