"""Several choices and recipes in one lock: nothing lost, nothing said twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmtrt.errors import LockStale
from mmtrt.lock.lock_file import LockFile
from tests.lock.conftest import Place
from tests.lock.test_lock import LLAVA, OTHER, REPO, commits, model
from tests.tasks.hub_server import Hub

TINY = "recipe=llava variant=tiny"
BOTH = f"{TINY} engine=onnxruntime,aot_inductor"


def test_a_sweep_is_locked_like_the_choices_that_differ(place: Place):
    place.done(f"lock -m {BOTH} workload.batch_size=1,2,4")
    text = (place.path / "mmtrt.lock").read_text()
    assert len(place.locked("llava/tiny").choices) == 2 and text.count("transformers:") == 1
    # Each point finds what it needs, and so does one that was never named.
    place.done(f"plan -m --locked {BOTH}")
    for engine in ("aot_inductor", "onnxruntime"):
        _, out, _ = place.run(f"plan --locked {TINY} engine={engine} max_batch_size=2 --json")
        assert json.loads(out)["lock"] == "mmtrt.lock"
    # Nothing changes when it is made again, or when one of the points is.
    for line in ("lock", f"lock {TINY} engine=onnxruntime workload.batch_size=2", "lock --prune"):
        place.done(line)
        assert (place.path / "mmtrt.lock").read_text() == text


def test_locking_another_version_keeps_the_first(place: Place):
    place.done("lock recipe=llava backend=fake trtllm.version=1.2.0")
    place.done("lock recipe=llava backend=fake trtllm.version=1.2.1")
    assert place.locked("llava/7b").tools == {"tensorrt-llm": ["1.2.0", "1.2.1"]}
    for version in ("1.2.0", "1.2.1"):
        place.done(f"plan --locked recipe=llava backend=fake trtllm.version={version}")
    code, _, err = place.run("plan --locked recipe=llava backend=fake trtllm.version=1.1.0")
    assert code == 4 and "tools.tensorrt-llm" in err
    # What was locked for a chosen backend does not say what auto means.
    assert "backend native" in place.run("plan recipe=llava")[1]
    place.done("lock --prune recipe=llava backend=fake trtllm.version=1.2.0")
    assert place.locked("llava/7b").tools == {"tensorrt-llm": ["1.2.0"]}


def test_one_name_stands_for_one_thing(place: Place, hub: Hub):
    """A branch that moves between two locks, other files of it, and one that is asked for anew."""
    first = hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    hub.repos[REPO] = model(b"other!")
    hub.repos[REPO].commit = OTHER
    hub.repos[REPO].refs = (*hub.repos[REPO].refs, first.commit)
    place.done(f"lock -m {LLAVA} engine=onnxruntime,aot_inductor")
    assert commits(place) == [first.commit]
    # Another selection of its files is another row, of the same commit.
    place.done(f"lock {LLAVA} recipe.stages.download.exclude=[config.json]")
    assert commits(place) == [first.commit] * 2
    # A row that no recipe names any more goes.
    place.done(f"lock --prune {LLAVA}")
    hub.log.clear()
    place.done("lock --upgrade download")
    assert commits(place) == [OTHER]
    assert len([asked for asked in hub.log if "/revision/main" in asked.path]) == 1
    assert (place.path / "mmtrt.lock").read_text().count("model.safetensors") == 1


def test_other_files_of_a_download_are_a_difference(place: Place, hub: Hub):
    hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    for part in ("include", "exclude"):
        line = f"{LLAVA} recipe.stages.download.{part}=[config.json,model.safetensors]"
        code, _, err = place.run(f"plan --locked {line}")
        assert code == 4 and "downloads.download" in err, part


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
    assert code == 4 and "engine.native  onnxruntime  aot_inductor" in err
    place.done(f"lock {TINY} tp=2")
    assert place.locked("llava/tiny").engine == {"native": ["onnxruntime", "aot_inductor"]}
    for tp, engine in ((1, "onnxruntime"), (2, "aot_inductor")):
        _, out, _ = place.run(f"plan {TINY} tp={tp} --locked --json")
        assert json.loads(out)["engine"] == engine
    place.done(f"plan -m {TINY} tp=1,2 max_batch_size=1,2 --locked")


def test_another_or_no_gpu_class_is_a_difference(place: Place):
    """Of packages for a CPU, too; they are tied to its instructions."""
    place.done(f"lock {TINY} engine=aot_inductor")
    place.done(f"plan --locked {TINY} engine=aot_inductor")
    lock = place.path / "mmtrt.lock"
    text = lock.read_text()
    for engine, old in (
        ("onnxruntime", text),
        ("aot_inductor", text.replace("gpu: cpu", "gpu: o")),
    ):
        lock.write_text(old)
        code, _, err = place.run(f"plan --locked {TINY} engine={engine}")
        assert code == 4 and "    gpu " in err, engine
    place.done(f"lock {TINY} engine=aot_inductor")
    place.done(f"lock {TINY} engine=onnxruntime")
    for engine in ("onnxruntime", "aot_inductor"):
        place.done(f"plan --locked {TINY} engine={engine}")


def test_what_no_recipe_has_can_be_pruned(place: Place):
    place.done(f"lock {TINY}")
    lock = LockFile(place.path / "mmtrt.lock")
    gone = replace(place.locked("llava/tiny"), choices=["recipe=gone variant=x"])
    lock.update(lambda old: replace(old, recipes={**old.recipes, "gone/x": gone}))
    assert place.run("lock --check recipe=llava variant=tiny")[0] == 0
    code, out, err = place.run("lock --check")
    assert code == 4 and "gone/x differs" in out and "mmtrt lock --prune" in err
    code, _, err = place.run("lock")
    assert code == 2 and "at: mmtrt.lock: gone/x" in err
    assert "mmtrt lock --prune" in err
    place.done("lock --prune")
    assert list(place.lock().recipes) == ["llava/tiny"]
    assert place.run("lock --check")[0] == 0


SCHEMA_2 = """\
schema: 2
entries:
  llava/7b:
    mmtrt: 0.1.0
    key_schema: 1
    backend: {{name: native, engine: onnxruntime, because: x}}
    downloads:
      download:
        repo: {repo}
        revision: main
        commit: {commit}
        include: {include}
        exclude: {exclude}
        files:
          - {{digest: 'sha256:{digest}', name: model.safetensors, size: 7}}
    cases:
      - overrides: ["recipe=llava backend=native model.revision=main variant=7b"]
        tools: {{torch: '2.0'}}
      - overrides: ["recipe=llava backend=native model.revision=main quant=int4_wo variant=7b"]
        tools: {{torch: '2.1'}}
"""


def test_a_lock_of_schema_2_is_read(place: Place, hub: Hub):
    hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    (row,) = place.lock().downloads.values()
    path = place.path / "mmtrt.lock"
    path.write_text(
        SCHEMA_2.format(
            repo=REPO, commit=OTHER, digest="1" * 64, include=row.include, exclude=row.exclude
        )
    )
    entry = place.locked("llava/7b")
    assert entry.tools == {"torch": ["2.0", "2.1"]} and len(entry.choices) == 2
    assert entry.backend is None and entry.gpu == ["portable"]
    _, out, err = place.run(f"plan {LLAVA} --json")
    assert OTHER in json.loads(out)["stages"][0]["argv"] and "tools.torch" in err
    assert path.read_text().startswith("schema: 2")
    place.done(f"lock {LLAVA}")
    assert "schema: 3" in path.read_text() and commits(place) == [OTHER]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 1\nentries: {}\n", "its schema is 1"),
        ("schema: 2\nentries: {a/b: {mmtrt: 1}}\n", "not what schema 2 is"),
        ("schema: 2\nentries: [1]\n", "not what schema 2 is"),
        ("schema: 3\nrecipes: {a/b: {choices: ['a \"b']}}\n", "is no command line"),
        ("schema: 3\nrecipes: {a/b: {tools: {x: 1.5}}}\n", "recipes.a/b.tools.x"),
        ("schema: 3\nrecipes: {a/b: {}, a/b: {}}\n", "a/b twice"),
    ],
)
def test_what_is_no_lock_of_its_schema_is_refused(tmp_path, text, words):
    lock = LockFile(tmp_path / "mmtrt.lock")
    lock.path.write_text(text)
    with pytest.raises(LockStale) as caught:
        lock.read()
    assert caught.value.code == "LCK103" and words in caught.value.render()
