"""Several choices of one recipe in one lock: nothing lost, nothing said twice."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtrt.errors import LockStale
from mmtrt.pins.cases import combined, together
from mmtrt.pins.entry import BackendPin, Entry
from mmtrt.pins.lock_file import LockFile
from mmtrt.pins.lock_text import lock_text
from tests.pins.conftest import Place
from tests.pins.test_lock import LLAVA, REPO, model
from tests.tasks.hub_server import Hub

TINY = "recipe=llava variant=tiny"
BOTH = f"{TINY} engine=onnxruntime,aot_inductor"

entries = st.builds(
    Entry,
    overrides=st.lists(
        st.sampled_from(["a", "a b=1", "engine=x", "backend=y c"]), min_size=1, unique=True
    ),
    mmtrt=st.just("0.1.0"),
    key_schema=st.sampled_from([1, 1, 1, 2]),
    backend=st.builds(
        BackendPin,
        name=st.sampled_from(["native", "fake"]),
        engine=st.just("onnxruntime"),
        because=st.just(""),
    ),
    gpu=st.sampled_from([{}, {}, {"sm": 90}]),
    tools=st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "1", "1.10"])),
    local=st.dictionaries(st.sampled_from("pq"), st.just("0" * 64)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, min_size=1, max_size=5))
def test_no_pin_is_lost_and_what_is_written_is_read(made):
    cases = together(made)
    for entry in made:
        holding = [case for case in cases if (both := combined(case, entry)) and both == case]
        assert holding, "nothing holds what a choice needs"
    assert len(cases) <= len(made)
    assert together(cases) == cases
    text = lock_text({"a/b": cases})
    read = LockFile(None)._parsed(text)  # type: ignore[arg-type]
    assert read == {"a/b": cases}
    assert lock_text(read) == text


def test_a_sweep_is_locked_whole_and_equal_facts_stand_once(place: Place):
    place.done(f"lock -m {BOTH} workload.batch_size=1,2,4")
    cases = place.cases()["llava/tiny"]
    assert [case.backend.engine for case in cases] == ["aot_inductor", "onnxruntime"]
    text = (place.path / "mmtrt.lock").read_text()
    assert text.count("transformers:") == 1 and text.count("batch_size") == len(cases)
    assert list(yaml.safe_load(text)["entries"]["llava/tiny"]["cases"][1]) == [
        *("overrides", "backend")
    ]
    # Each point finds its own, and so does one that was never named.
    place.done(f"plan -m --locked {BOTH}")
    for engine in ("aot_inductor", "onnxruntime"):
        _, out, _ = place.run(f"plan --locked {TINY} engine={engine} max_batch_size=2 --json")
        assert json.loads(out)["lock"] == "mmtrt.lock"
    # Nothing changes when it is made again, or when one of the points is.
    for line in ("lock", f"lock {TINY} engine=onnxruntime workload.batch_size=2", "lock --prune"):
        place.done(line)
        assert (place.path / "mmtrt.lock").read_text() == text


def test_locking_another_backend_keeps_the_first(place: Place):
    place.done("lock recipe=llava backend=fake trtllm.version=1.2.0")
    place.done("lock recipe=llava backend=fake trtllm.version=1.2.1")
    found = [case.tools for case in place.cases()["llava/7b"]]
    assert found == [{"tensorrt-llm": "1.2.0"}, {"tensorrt-llm": "1.2.1"}]
    for version in ("1.2.0", "1.2.1"):
        place.done(f"plan --locked recipe=llava backend=fake trtllm.version={version}")
    code, _, err = place.run("plan --locked recipe=llava backend=fake trtllm.version=1.1.0")
    assert code == 4 and "tools.tensorrt-llm" in err
    # An entry for a chosen backend does not say what auto means.
    assert "backend native" in place.run("plan recipe=llava")[1]
    place.done("lock --prune recipe=llava backend=fake trtllm.version=1.2.0")
    assert len(place.cases()["llava/7b"]) == 1


def test_one_name_stands_for_one_thing_at_every_point(place: Place, hub: Hub):
    """A branch that moves between two locks, and one that is asked for anew once for a sweep."""
    hub.repos[REPO] = model()
    first = hub.repos[REPO].commit
    place.done(f"lock {LLAVA}")
    hub.repos[REPO] = model(b"other!")
    hub.repos[REPO].commit = "f" * 40
    place.done(f"lock -m {LLAVA} engine=onnxruntime,aot_inductor")
    commits = [case.downloads["download"].commit for case in place.cases()["llava/7b"]]
    assert commits == [first, first]
    hub.log.clear()
    place.done("lock --upgrade download")
    commits = [case.downloads["download"].commit for case in place.cases()["llava/7b"]]
    assert commits == ["f" * 40] * 2
    assert len([asked for asked in hub.log if "/revision/main" in asked.path]) == 1
    # The digests of its files stand once.
    assert (place.path / "mmtrt.lock").read_text().count("model.safetensors") == 1


def test_drift_of_a_sweep_is_one_table(place: Place):
    place.done(f"lock -m {BOTH}")
    lock = place.path / "mmtrt.lock"
    lock.write_text(lock.read_text().replace("numpy: ", "numpy: 0."))
    words = "-m recipe=llava variant=tiny,7b engine=onnxruntime,aot_inductor backend=native"
    for verb in ("plan", "check", "run"):
        code, _, err = place.run(f"{verb} {words} --locked")
        out = err if verb == "run" else place.run(f"{verb} {words} --locked")[1]
        assert code == 4
        assert out.count("error[LCK") == 1 and out.count("FIELD") == 1
        assert "llava/7b    variant=7b (2 points)" in out and "no entry" in out
        assert "fix: mmtrt lock -m recipe=llava variant=tiny,7b" in out
    # What else is wrong with a point is told at the same time, and counts more.
    code, out, _ = place.run(f"check {words} tp=1,3 --locked")
    assert code == 2 and "error[LCK101]" in out and "error[PAR101]" in out
    assert not (place.path / "store").exists() and not (place.path / "runs").exists()
    place.done(f"lock {words}")
    assert place.run(f"plan {words} --locked")[0] == 0
    # Without --locked it is one warning.
    lock.write_text(lock.read_text().replace("numpy: ", "numpy: 0."))
    code, _, err = place.run(f"plan {words}")
    assert code == 0 and err.count("warning[LCK101]") == 1


def test_another_file_for_a_sweep(place: Place):
    words = "-m recipe=llava backend=fake until=download workload.batch_size=1,2 -q"
    code, _, err = place.run(f"{words} --locked --lock own.lock")
    assert code == 4 and "there is no lock file own.lock" in err and "-o own.lock" in err
    place.done("lock -m recipe=llava backend=fake workload.batch_size=1,2 -o own.lock")
    place.done(f"{words} --locked --lock=own.lock")
    (record,) = (place.path / "runs").glob("*/mmtrt.lock")
    assert record.read_text() == (place.path / "own.lock").read_text()
    assert place.run(f"{words} --lock")[0] == 2


def test_what_auto_means_depends_on_the_choice(place: Place):
    """Ranks exchange sums in packages alone, so one lock has two formats for ``engine=auto``."""
    place.done(f"lock {TINY}")
    code, _, err = place.run(f"plan {TINY} tp=2 --locked")
    assert code == 4 and "backend.engine  onnxruntime  aot_inductor" in err
    place.done(f"lock {TINY} tp=2")
    engines = [case.backend.engine for case in place.cases()["llava/tiny"]]
    assert sorted(engines) == ["aot_inductor", "onnxruntime"]
    for tp, engine in ((1, "onnxruntime"), (2, "aot_inductor")):
        _, out, _ = place.run(f"plan {TINY} tp={tp} --locked --json")
        assert json.loads(out)["engine"] == engine
    place.done(f"plan -m {TINY} tp=1,2 max_batch_size=1,2 --locked")


def test_what_no_recipe_has_can_be_pruned(place: Place):
    place.done(f"lock {TINY}")
    lock = LockFile(place.path / "mmtrt.lock")
    (entry,) = lock.read()["llava/tiny"]
    gone = replace(entry, overrides=["recipe=gone variant=x"])
    lock.update(lambda old: {**old, "gone/x": (gone,)})
    assert place.run("lock --check recipe=llava variant=tiny")[0] == 0
    code, out, err = place.run("lock --check")
    assert code == 4 and "gone/x differs" in out and "mmtrt lock --prune" in err
    code, _, err = place.run("lock")
    assert code == 2 and "at: mmtrt.lock: gone/x" in err
    assert "mmtrt lock --prune" in err
    place.done("lock --prune")
    assert list(place.cases()) == ["llava/tiny"]
    assert place.run("lock --check")[0] == 0


def test_a_lock_of_schema_1_is_read(place: Place):
    place.done(f"lock {TINY} quant=int4_wo")
    path = place.path / "mmtrt.lock"
    new = path.read_text()
    words = "\n".join(f"      - {word}" for word in f"{TINY} quant=int4_wo".split())
    old = new.replace(f"      - {TINY} quant=int4_wo", words).replace("schema: 2", "schema: 1")
    path.write_text(old)
    assert place.run("lock --check")[0] == 0
    place.done(f"plan --locked {TINY} quant=int4_wo")
    assert path.read_text() == old
    place.done(f"lock {TINY}")
    assert path.read_text().startswith(new[: new.index("entries")])
    path.write_text("schema: 0\nentries: {}\n")
    assert place.run("lock --check")[0] == 4


def test_an_entry_that_stands_twice_is_refused(place: Place):
    """As who resolves a conflict by keeping both sides leaves it."""
    place.done(f"lock {TINY}")
    path = place.path / "mmtrt.lock"
    head, mark, body = path.read_text().partition("entries:\n")
    path.write_text(f"{head}{mark}{body}\n{body}")
    code, _, err = place.run("lock --check")
    assert code == 4 and "error[LCK103]" in err and "llava/tiny twice" in err


def test_two_branches_that_lock_other_points_merge(tmp_path):
    def entry(version: str, engine: str = "a") -> Entry:
        return Entry(
            overrides=[f"recipe=x engine={engine}"],
            mmtrt="0.1.0",
            key_schema=1,
            backend=BackendPin(name="native", engine=engine, because=""),
            tools={"torch": version, **{f"tool{i}": "1" for i in range(8)}},
        )

    base = {f"{name}/x": together([entry("1", "a"), entry("1", "m")]) for name in "abc"}
    ours = base | {"a/x": together([entry("1", "a"), entry("1", "b"), entry("1", "m")])}
    theirs = base | {"c/x": together([entry("2", "a"), entry("1", "m")])}
    for name, each in (("base", base), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text(lock_text(each))
    merge = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(merge, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == lock_text(ours | {"c/x": theirs["c/x"]})


@pytest.mark.parametrize(
    ("cases", "version", "words"),
    [
        ("[1]", "1.5", "entries.a/b.cases"),
        ("[{overrides: ['a \"b']}]", "'1.5'", "overrides is no command line"),
        ("[{mmtrt: 1}, {}]", "1.5", "entries.a/b.cases[0].mmtrt"),
        ("[{}, {}]", "1.5", "why: entries.a/b.tools.x must be text"),
    ],
)
def test_cases_that_cannot_be_understood(tmp_path, cases, version, words):
    common = "key_schema: 1, backend: {name: a, engine: b, because: c}, mmtrt: '1'"
    common += f", tools: {{x: {version}}}"
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.path.write_text(f"schema: 2\nentries:\n  a/b: {{{common}, cases: {cases}}}\n")
    with pytest.raises(LockStale) as caught:
        lock.read()
    assert caught.value.code == "LCK103" and words in caught.value.render()
    assert caught.value.render().count("tools.x must be text") <= 1
