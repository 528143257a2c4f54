"""The file itself: one fact a line, whole at any moment, nobody's entry lost."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtrt.errors import LockStale
from mmtrt.lock.lock_file import LockFile, lock_text
from mmtrt.lock.tables import (
    Lock,
    LockedClone,
    LockedDownload,
    LockedEnvironment,
    LockedFile,
    LockedRecipe,
)

ENTRY = LockedRecipe(
    choices=["recipe=llava 'run.prompt=\"a: b\"'", "recipe=llava quant=int4_wo"],
    backend="trtllm",
    engine={"trtllm": ["tensorrt"]},
    gpu=["sm 90, tensorrt 10.13"],
    tools={"python": ["3.12"], "tensorrt-llm": ["1.10", "1.2"]},
    patches={"patch": ["sha256:" + "1" * 64]},
    local={"projector": ["2" * 64]},
    downloads={"download": ["a/b@main"]},
    clones={"examples": ["https://x/y.git@v1"]},
    environments={"env": ["env-1"]},
)
TABLES = {
    "downloads": {
        "a/b@main": LockedDownload(
            commit="1" * 40,
            include=["*.json"],
            files=[
                LockedFile(name="config.json", size=7, digest="git-sha1:" + "3" * 40),
                LockedFile(name="no", size=1, digest="sha256:" + "4" * 64),
            ],
        )
    },
    "clones": {"https://x/y.git@v1": LockedClone(commit="12e4567" + "0" * 33)},
    "environments": {
        "env-1": LockedEnvironment(
            requirements=["a>1"], packages=["a==2 --hash=sha256:" + "5" * 64]
        )
    },
}


def lock_of(**recipes: LockedRecipe) -> Lock:
    return Lock(recipes={name.replace("__", "/"): each for name, each in recipes.items()}, **TABLES)


def adding(name: str, entry: LockedRecipe = ENTRY):
    return lambda old: replace(old, recipes={**old.recipes, name: entry}, **TABLES)


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.just("12e45"))


def test_what_is_written_is_read(tmp_path):
    lock = LockFile(tmp_path / "mmtrt.lock")
    assert lock.read() == Lock()
    assert lock.update(adding("llava/7b"))
    assert lock.read() == lock_of(llava__7b=ENTRY)
    assert not lock.update(lambda old: old)
    assert [path.name for path in tmp_path.iterdir()] == ["mmtrt.lock"]


@settings(max_examples=30, deadline=None)
@given(names, st.dictionaries(names, texts, max_size=3), st.lists(texts, max_size=3))
def test_any_text_comes_back(name, tools, words):
    tools = {key: [value] for key, value in tools.items()}
    lock = Lock(recipes={name: replace(ENTRY, tools=tools, choices=[shlex.join(words)])}, **TABLES)
    text = lock_text(lock)
    assert LockFile(Path("x")).parsed(text) == lock
    assert lock_text(LockFile(Path("x")).parsed(text)) == text


def test_a_file_of_a_download_is_a_line_and_versions_stay_text():
    text = lock_text(lock_of(llava__7b=ENTRY))
    rows = [line.strip() for line in text.splitlines() if "config.json" in line]
    assert rows == [f"- {{digest: 'git-sha1:{'3' * 40}', name: config.json, size: 7}}"]
    tools = yaml.safe_load(text)["recipes"]["llava/7b"]["tools"]
    assert tools == {"python": "3.12", "tensorrt-llm": ["1.10", "1.2"]}


def test_order_does_not_depend_on_the_order_of_writing():
    recipes = dict.fromkeys(("b/x", "a/y", "a/b"), ENTRY)
    one, other = Lock(recipes=recipes), Lock(recipes=dict(reversed(recipes.items())))
    assert lock_text(one) == lock_text(other)


def test_two_branches_that_change_other_recipes_merge(tmp_path):
    base = dict.fromkeys(("blip2/x", "llava/x", "vila/x"), ENTRY)
    ours = base | {"blip2/x": replace(ENTRY, tools={"torch": ["2"]})}
    theirs = base | {"vila/x": replace(ENTRY, backend="native")}
    for name, each in (("base", base), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text(lock_text(Lock(recipes=each, **TABLES)))
    merge = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(merge, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == lock_text(Lock(recipes=ours | {"vila/x": theirs["vila/x"]}, **TABLES))
    # Where both change the same, nobody is served half of each.
    other = base | {"blip2/x": replace(ENTRY, tools={})}
    (tmp_path / "theirs").write_text(lock_text(Lock(recipes=other, **TABLES)))
    text = subprocess.run(merge, cwd=tmp_path, capture_output=True, text=True).stdout
    (tmp_path / "mmtrt.lock").write_text(text)
    with pytest.raises(LockStale, match="merge"):
        LockFile(tmp_path / "mmtrt.lock").read()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 4\nrecipes: {}\nnew: 1\n", "newer mmtrt"),
        ("schema: 3\nrecipes: [\n", "no YAML"),
        ("", "cannot be used"),
        ("schema: 3\nmmtrt: 1\n", "mmtrt must be text"),
        (lock_text(lock_of(a__b=ENTRY)).replace("'1.10'", "1.10"), "quote it"),
        (lock_text(lock_of(a__b=ENTRY)).partition("size: 7")[0], "no YAML"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_kept(tmp_path, text, words):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.path.write_text(text)
    with pytest.raises(LockStale) as caught:
        lock.update(adding("x/y"))
    assert caught.value.code == "LCK103" and caught.value.exit_code == 4
    assert words in caught.value.render()
    assert lock.path.read_text() == text


WRITER = """\
import sys
from dataclasses import replace
from pathlib import Path
from mmtrt.lock.lock_file import LockFile
from tests.lock.test_lock_file import ENTRY, adding
lock, name, count = LockFile(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print(flush=True)
for index in range(count):
    many = [f"recipe={index}"] * 500
    lock.update(adding(name, replace(ENTRY, choices=many)))
"""


def writer(lock: LockFile, name: str, count: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", WRITER, str(lock.path), name, str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


DYING = """\
import os, signal, sys
from pathlib import Path
from mmtrt.lock.lock_file import LockFile
from tests.lock.test_lock_file import OTHER, adding
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
lock.update(adding("new/entry", OTHER))
"""
OTHER = replace(ENTRY, choices=["recipe=other"])


@pytest.mark.parametrize("moment", ["write", "sync", "before", "after"])
def test_killed_while_writing_leaves_the_old_file_or_the_new(tmp_path, moment):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.update(adding("a/b"))
    done = subprocess.run([sys.executable, "-c", DYING, moment, str(lock.path)])
    assert done.returncode == -signal.SIGKILL
    assert sorted(lock.read().recipes) == ["a/b", *(["new/entry"] if moment == "after" else [])]
    # What the dead one held is free.
    assert lock.update(lambda old: lock_of(c__d=ENTRY))
    assert lock.read() == lock_of(c__d=ENTRY)


def test_no_entry_is_lost_when_several_write_at_once(tmp_path):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.update(adding("old/one"))
    running = [writer(lock, f"new/{index}", 3) for index in range(3)]
    assert [process.wait() for process in running] == [0] * 3
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    found = lock.read().recipes
    assert sorted(found) == [*(f"new/{index}" for index in range(3)), "old/one"]
    assert all(found[f"new/{index}"].choices[0] == "recipe=2" for index in range(3))
