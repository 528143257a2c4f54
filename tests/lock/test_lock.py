"""``mmtrt lock`` and ``--locked``: what is pinned, what the pins do, and what makes them stale."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess

import pytest

from mmtrt.host import Gpu, HostInfo
from mmtrt.lock.lock_file import LockFile
from mmtrt.plan.keys import KEY_VERSION
from tests.lock.conftest import Place, repository
from tests.tasks.hub_server import Hub, Repo, safetensors
from tests.test_env_stage import wheel

VILA = "recipe=vila backend=fake"
TINY = "recipe=llava variant=tiny"
REPO = "llava-hf/llava-1.5-7b-hf"
LLAVA = "recipe=llava backend=native model.revision=main until=download"
OTHER = "f" * 40


def model(weight: bytes = b"weight") -> Repo:
    config = json.dumps({"model_type": "llava"}).encode()
    return Repo({"config.json": config, "model.safetensors": safetensors(weight), "a.md": b"x"})


def commits(place: Place) -> list[str]:
    return [row.commit for row in place.lock().downloads.values()]


def tag(place: Place) -> str:
    lock = place.lock()
    return lock.clones[lock.recipes["vila/1_5_3b"].clones["clone"][0]].commit


def env(place: Place) -> list[str]:
    (row,) = place.lock().environments.values()
    return row.packages


def test_stand_ins_get_the_same_keys_in_another_store(place: Place):
    place.done(f"run {VILA} -q until=convert")
    place.done(f"lock {VILA}")
    place.done(f"run {VILA} -q until=convert --locked", store="other")
    assert place.keys("other") == place.keys() and len(place.keys()) == 4


def test_native_stages_get_the_same_keys_in_another_store(place: Place):
    place.done(f"run {TINY} -q until=convert")
    place.done(f"lock {TINY}")
    place.done(f"run {TINY} -q until=convert --locked", store="other")
    assert place.keys("other") == place.keys() and len(place.keys()) == 2
    assert place.locked("llava/tiny").local.keys() == {"download"}


@pytest.mark.slow
def test_native_engines_get_the_same_keys_in_another_store(place: Place):
    place.done(f"run {TINY} -q")
    place.done(f"lock {TINY}")
    place.done(f"run {TINY} -q --locked", store="other")
    assert place.keys("other") == place.keys()


def test_branch_of_a_hub_is_locked_to_its_commit_and_stays_there(place: Place, hub: Hub):
    first = hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    assert place.locked("llava/7b").downloads["download"][0].startswith(f"{REPO}@main#")
    (pin,) = place.lock().downloads.values()
    assert pin.commit == first.commit
    kinds = {file.name: (file.size, file.digest.partition(":")[0]) for file in pin.files}
    assert kinds == {
        "config.json": (len(first.files["config.json"]), "git-sha1"),
        "model.safetensors": (len(first.files["model.safetensors"]), "sha256"),
    }
    hub.repos[REPO] = model(b"other!")
    hub.repos[REPO].commit = OTHER
    # The branch has moved, the lock has not; who asks for it anew gets what it is now.
    place.done(f"lock {LLAVA}")
    assert commits(place) == [first.commit]
    assert place.run("lock --check --upgrade")[0] == 4
    place.done("lock --upgrade download")
    assert commits(place) == [OTHER]


def test_pinned_commit_is_asked_for_and_never_the_branch(place: Place, hub: Hub):
    repo = hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    repo.refs = ()
    place.done(f"run {LLAVA} -q --locked", store="one")
    (record,) = (place.path / "runs").glob("*/mmtrt.lock")
    assert record.read_text() == (place.path / "mmtrt.lock").read_text()
    place.done("run recipe=llava backend=native -q until=download model.revision="
               + repo.commit, store="two")  # fmt: skip
    # A pin enters the key as it does when the recipe says it.
    assert place.keys("one") == place.keys("two")


def test_other_bytes_under_the_same_commit_are_refused(place: Place, hub: Hub):
    hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    hub.repos[REPO].files["config.json"] = b'{"model_type": "llava", "auto_map": 1}'
    code, _, err = place.run(f"run {LLAVA} -q --locked")
    assert code == 1 and "MDL119" in err and "`config.json`" in err
    assert not place.keys()


def test_what_was_built_is_what_is_locked(place: Place, hub: Hub):
    """The store knows the commit of its download; where the branch is now does not matter."""
    first = hub.repos[REPO] = model()
    place.done(f"run {LLAVA} -q")
    hub.repos[REPO] = model(b"other!")
    hub.repos[REPO].commit = OTHER
    place.done(f"lock {LLAVA}")
    (pin,) = place.lock().downloads.values()
    assert pin.commit == first.commit
    assert {file.digest.partition(":")[0] for file in pin.files} == {"blake3"}
    # Its digests hold in another store, too.
    hub.repos[REPO] = first
    place.done(f"run {LLAVA} -q --locked", store="other")


def test_offline_names_what_cannot_be_resolved(place: Place, hub: Hub):
    place.monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = place.run(f"lock {LLAVA}")
    assert code == 5 and f"download ({REPO} at main)" in err and "NET103" in err
    assert not (place.path / "mmtrt.lock").exists()
    # A commit needs nobody; only the digests stay unknown, and that is said.
    code, _, err = place.run("lock recipe=llava backend=native")
    assert code == 0 and "digests of download's files are not known" in err
    (pin,) = place.lock().downloads.values()
    assert pin.files == []


def test_unknown_revision_is_a_mistake_of_the_recipe(place: Place, hub: Hub):
    hub.repos[REPO] = model()
    code, _, err = place.run("lock recipe=llava backend=native model.revision=mian")
    assert code == 2 and "MDL113" in err and "mian" in err


@pytest.fixture
def trtllm(place: Place) -> Place:
    """Code and example scripts in repositories here, packages in wheels."""
    files = {"examples/models/core/multimodal/requirements-vila.txt": "herring>=1\n"}
    repository(place.path / "examples.git", files, "v1.2.1")
    repository(place.path / "code.git", {"llava/__init__.py": ""}, "v1")
    (place.path / "wheels").mkdir()
    wheel(place.path / "wheels", "1.0")
    place.monkeypatch.setenv("PIP_NO_INDEX", "1")
    place.monkeypatch.setenv("PIP_FIND_LINKS", str(place.path / "wheels"))
    url = f"file://{place.path}/examples.git"
    place.monkeypatch.setattr("mmtrt.backends.trtllm.EXAMPLES_URL", url)
    return place


def install(place: Place) -> None:
    """Let this host have TensorRT-LLM, as its metadata would say."""
    version = HostInfo.version
    place.monkeypatch.setattr(
        HostInfo, "version", lambda self, n: "1.2.1" if n == "tensorrt-llm" else version(self, n)
    )


def vila(place: Place, revision: str = "v1") -> list[str]:
    code = "recipe.sources.code"
    return [
        *("recipe=vila", "backend=trtllm", "target.sm=90"),
        *(f"{code}.git=file://{place.path}/code.git", f"{code}.revision={revision}"),
    ]


def test_tags_and_requirements_are_locked(trtllm: Place, hub: Hub):
    place = trtllm
    install(place)
    hub.repos["Efficient-Large-Model/VILA1.5-3b"] = Repo(
        {"config.json": b"{}", "model.safetensors": safetensors()},
        "42d1dda6807cc521ef27674ca2ae157539d17026",
    )
    place.done("lock", *vila(place))
    head = repository(place.path / "code.git", {"new.py": ""}, "v1")  # the tag moves
    entry, locked, packages = place.locked("vila/1_5_3b"), tag(place), env(place)
    assert entry.clones["clone"] == [f"file://{place.path}/code.git@v1"] and locked != head
    (examples,) = entry.clones["examples"]
    assert re.fullmatch("[0-9a-f]{40}", place.lock().clones[examples].commit)
    assert entry.gpu == ["sm 90, tensorrt of the container"]
    assert [line.partition(" ")[0] for line in packages] == ["herring==1.0"]
    # The script that needs no mmtrt uses them, too.
    script = place.done("export --locked", *vila(place))
    (package,) = packages
    assert locked in script and f"\n{package}\nEND\n" in script and "--no-deps" in script
    weights = hashlib.sha256(safetensors()).hexdigest()
    assert f"\n{weights}  model.safetensors\nEND\n" in script and "sha256sum --check" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    # A newer package appears; the environment is still the one that was locked.
    wheel(place.path / "wheels", "2.0")
    place.done("run -q --locked until=env", *vila(place), store="one")
    place.done("run -q --locked until=clone", *vila(place), store="one")
    assert len(place.keys("one")) == 3
    (made,) = (place.path / "one").glob("env/*/*/requirements.lock")
    assert made.read_text().splitlines() == packages
    assert not list((place.path / "one").glob("clone/*/*/new.py"))
    # Only what is named is asked for anew.
    place.done("lock --upgrade clone")
    assert tag(place) == head and env(place) == packages
    place.done("lock --upgrade herring", *vila(place))
    (line,) = env(place)
    assert line.startswith("herring==2.0 ")
    code, _, err = place.run("lock --upgrade clown")
    assert code == 2 and "clown" in err and "clone" in err


def test_every_drift_is_told_at_once(place: Place):
    place.done(f"lock {VILA}")
    lock = LockFile(place.path / "mmtrt.lock")
    text = lock.path.read_text()
    for old, new in (
        ("mmtrt: 0.1.0", "mmtrt: 0.0.9"),
        ("tensorrt-llm: 1.2.1", "tensorrt-llm: 1.0.0"),
        (f"key_schema: {KEY_VERSION}", "key_schema: 0"),
    ):
        assert old in text
        text = text.replace(old, new)
    lock.path.write_text(text)
    fields = ["key_schema", "mmtrt", "tools.tensorrt-llm"]
    for verb in ("run", "plan", "check", "why convert", "export"):
        code, out, err = place.run(f"{verb} {VILA} --locked")
        assert (code, out) == (4, "")
        assert [field for field in fields if f"    {field} " not in err] == []
        assert "0.0.9" in err and f"fix: mmtrt lock {VILA}" in err
    code, out, _ = place.run("lock --check --json")
    document = json.loads(out)
    (row,) = document["entries"]
    assert code == 4 and document["is_stale"] is True
    assert sorted(each["field"] for each in row["drift"]) == fields
    place.done(f"lock {VILA}")
    assert place.run("lock --check")[0] == 0


def test_other_edits_are_drift(place: Place):
    words = "recipe=cogvlm backend=fake"
    place.done(f"lock {words}")
    place.done(f"plan {words} --locked")
    edit = "recipe.stages.patch.edits=[{file: visual.py, before: one, after: two}]"
    code, _, err = place.run(f"plan {words} --locked", edit)
    assert code == 4 and "LCK101" in err and "patches.patch" in err


def on(place: Place, *sms: int) -> None:
    """Let this machine have these GPUs."""
    gpus = tuple(Gpu(i, "GPU", f"GPU-{i}", sm, 80 << 30) for i, sm in enumerate(sms))
    place.monkeypatch.setattr("mmtrt.host._gpus", lambda: gpus)
    place.monkeypatch.setattr("mmtrt.host._torch_cuda", lambda: "13.0")


def test_a_lock_is_of_the_gpu_that_it_was_made_on(place: Place):
    words = f"{TINY} engine=aot_inductor"
    on(place, 90)
    place.done(f"lock {words}")
    for sms, status in (((90,), 0), ((80,), 4), ((), 4)):
        on(place, *sms)
        code, _, err = place.run(f"plan {words} --locked")
        assert code == status, (sms, err)
        assert not status or "sm" in err


def test_one_lock_holds_engines_for_several_gpus(place: Place):
    words = f"{TINY} engine=aot_inductor"
    on(place, 80)
    for sm in (80, 90):
        place.done(f"lock {words} target.sm={sm}")
    for sm, status in ((80, 0), (90, 0), (89, 4)):
        code, _, err = place.run(f"plan {words} target.sm={sm} --locked")
        assert code == status, (sm, err)


def test_a_choice_that_was_never_named_is_described(place: Place):
    fake = "recipe=llava backend=fake"
    place.done(f"lock {fake} trtllm.version=1.2.0")
    place.done(f"lock {fake} dtype=float16 max_batch_size=2 workload.max_new_tokens=40")
    # One word from the first, whose TensorRT-LLM is another; three from the second.
    place.done(f"plan {fake} --locked")


def test_an_environment_is_not_taken_from_another_tensorrt_llm(trtllm: Place, hub: Hub):
    """Its requirements stand in a file of the examples, which another version has otherwise."""
    place = trtllm
    hub.repos["Efficient-Large-Model/VILA1.5-3b"] = Repo(
        {"config.json": b"{}", "model.safetensors": safetensors()},
        "42d1dda6807cc521ef27674ca2ae157539d17026",
    )
    place.done("lock", *vila(place))
    name = "examples/models/core/multimodal/requirements-vila.txt"
    repository(place.path / "examples.git", {name: "herring>=2\n"}, "v1.2.0")
    wheel(place.path / "wheels", "2.0")
    place.done("lock", *vila(place), "trtllm.version=1.2.0")
    lock = place.lock()
    packages = [
        lock.environments[row].packages[0].partition(" ")[0]
        for row in lock.recipes["vila/1_5_3b"].environments["env"]
    ]
    assert packages == ["herring==1.0", "herring==2.0"]


def test_missing_file_and_missing_entry(place: Place):
    code, _, err = place.run(f"plan {VILA} --locked")
    assert code == 4 and "LCK102" in err and f"fix: mmtrt lock {VILA}" in err
    assert place.run("lock --check")[0] == 4
    place.done(f"lock {TINY}")
    code, _, err = place.run(f"plan {VILA} --locked")
    assert code == 4 and "no entry for vila/1_5_3b" in err
    place.monkeypatch.setenv("MMTRT_LOCKED", "1")
    assert place.run(f"plan {VILA}")[0] == 4
    assert place.run(f"plan {VILA} --unlocked")[0] == 0
    place.monkeypatch.setenv("MMTRT_LOCKED", "yes")
    assert place.run(f"plan {VILA}")[0] == 2


def test_lock_that_is_there_is_neither_ignored_nor_used_in_silence(place: Place, hub: Hub):
    hub.repos[REPO] = model()
    place.done(f"lock {LLAVA}")
    commit = hub.repos[REPO].commit
    code, out, err = place.run(f"plan {LLAVA} --json")
    assert code == 0 and commit in json.loads(out)["stages"][0]["argv"] and err == ""
    assert "locked by mmtrt.lock" in place.run(f"plan {LLAVA}")[1].splitlines()[0]
    _, out, _ = place.run(f"plan {LLAVA} --unlocked")
    assert "locked" not in out.splitlines()[0]
    # Where it does not fit, the rest of it still does, and that is said.
    _, out, err = place.run("plan recipe=llava backend=native model.revision=dev --json")
    assert "dev" in json.loads(out)["stages"][0]["argv"]
    assert "warning[LCK101]" in err and "downloads.download" in err
    _, _, err = place.run(f"plan {VILA}")
    assert "no entry for vila/1_5_3b" in err


def test_auto_means_what_it_meant(trtllm: Place, hub: Hub):
    place = trtllm
    hub.repos[REPO] = model()
    place.done("lock recipe=llava model.revision=main")
    assert place.locked("llava/7b").backend == "native"
    # Now TensorRT-LLM is installed, which auto would take.
    install(place)
    _, out, _ = place.run("plan recipe=llava model.revision=main --unlocked")
    assert "backend trtllm" in out
    _, out, _ = place.run("plan recipe=llava model.revision=main")
    assert "backend native" in out and "the lock says so" in out
    place.done("lock --upgrade backend")
    assert place.locked("llava/7b").backend == "trtllm"


def test_each_call_touches_its_own_entry(place: Place):
    place.done(f"lock {TINY}")
    before = (place.path / "mmtrt.lock").read_text()
    place.done(f"lock {VILA}")
    place.done("lock recipe=llava backend=fake")
    assert sorted(place.lock().recipes) == ["llava/7b", "llava/tiny", "vila/1_5_3b"]
    assert before.partition("recipes:\n")[2] in (place.path / "mmtrt.lock").read_text()
    text = (place.path / "mmtrt.lock").read_text()
    _, _, err = place.run("lock")
    assert err.count("Nothing changed for") == 3
    assert (place.path / "mmtrt.lock").read_text() == text


def test_other_overrides_use_the_same_pins(place: Place):
    place.done(f"lock {VILA}")
    assert place.run(f"plan {VILA} --locked quant=int4_awq max_batch_size=2 until=convert")[0] == 0


def test_model_of_ones_own_is_held_by_its_content(place: Place):
    place.done(f"lock {TINY}")
    import shutil

    from mmtrt.config.root import asset

    shutil.copytree(asset("asset://llava_tiny", ()), place.path / "mine")
    line = f"{TINY} model.path=mine until=download"
    place.done(f"lock {line} -o own.lock")
    place.done(f"plan {line} --locked --lock own.lock")
    config = place.path / "mine/config.json"
    config.write_text(config.read_text() + "\n")
    code, _, err = place.run(f"plan {line} --locked --lock own.lock")
    assert code == 4 and "local.download" in err


def test_no_credential_is_kept(place: Place):
    url = "https://me:s3cretpassword@example.com/VILA.git"
    place.done(f"lock {VILA}", f"recipe.sources.code.git={url}")
    text = (place.path / "mmtrt.lock").read_text()
    assert "s3cretpassword" not in text and "example.com/VILA.git" in text
    assert place.run(f"plan {VILA} --locked", f"recipe.sources.code.git={url}")[0] == 0


def test_json_and_usage(place: Place):
    document = json.loads(place.done(f"lock {TINY} --json"))
    assert document["file"] == "mmtrt.lock" and document["entries"][0]["name"] == "llava/tiny"
    assert place.run("lock llava")[0] == 2
    assert place.run(f"lock {TINY} -o nowhere/mmtrt.lock")[0] == 2
    assert place.run(f"plan {TINY} --locked --unlocked")[0] == 2
