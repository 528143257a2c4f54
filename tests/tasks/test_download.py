from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import LIMIT_S, wait_until

from .conftest import HOSTILE, Stage, call, tree
from .hub_server import SIGNATURE, Hub, Mishap, Repo, index_of, pointer_to, safetensors

MIB = 1 << 20
CONFIG = b'{"model_type": "llava"}'
WEIGHTS = safetensors(random.Random(1).randbytes(6 * MIB))
MODEL = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "README.md": b"# hello"}
COMMIT = Repo({}).commit


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.repos.setdefault("owner/llava", Repo(dict(MODEL)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out put"


def source(revision: str = COMMIT, repo_id: str = "owner/llava") -> tuple[str, ...]:
    return ("--repo-id", repo_id, "--revision", revision)


def partial_bytes(stage: Stage) -> int:
    return sum(p.stat().st_size for p in Path(stage.env["HF_HOME"]).rglob("*.mmtrt.incomplete"))


def wait_until_partial(stage: Stage, process: subprocess.Popen[str], size: int) -> None:
    wait_until(lambda: partial_bytes(stage) >= size, process)


def has_open(pid: int, pattern: str) -> bool:
    """Return whether a process has a file of such a name open; false while it starts."""
    with contextlib.suppress(OSError):
        return any(link.readlink().match(pattern) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


# Digests of a lock

SHA256, OTHER = hashlib.sha256(WEIGHTS).hexdigest(), "0" * 64
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
README = f"sha256:{hashlib.sha256(MODEL['README.md']).hexdigest()}=README.md"


@pytest.mark.parametrize(
    ("weights", "config", "words"),
    [
        (f"sha256:{SHA256}", f"git-sha1:{GIT_SHA1}", None),
        (f"sha256:{OTHER}", f"git-sha1:{GIT_SHA1}", "other content than in the lock: `model."),
        (f"sha256:{SHA256}", f"git-sha1:{OTHER[:40]}", "other content than in the lock: `config."),
        (f"blake3:{OTHER}", f"git-sha1:{GIT_SHA1}", "other content than in the lock: `model."),
        (f"sha256:{SHA256}", None, "not in the lock: `config.json`"),
    ],
)
def test_files_are_held_against_a_lock(stage: Stage, repo: Repo, out, weights, config, words):
    known = {"model.safetensors": weights, "config.json": config}
    rows = [README, *(f"{digest}={name}" for name, digest in known.items() if digest)]
    flags = [word for row in rows for word in ("--expect", row)]
    ended = stage.run("download", "--output-dir", out, *source(), *flags)
    if words is None:
        ended.done()
    else:
        assert words in ended.failed("MDL119").stderr
        assert not out.exists() or not tree(out)


# Hub, all well


def test_pinned_revision_is_downloaded_whole(stage: Stage, repo: Repo, out: Path) -> None:
    ended = stage.run("download", "--output-dir", out, *source()).done()
    total = sum(map(len, MODEL.values()))
    assert tree(out) == MODEL
    assert ended.stdout == f"3 files, {total} bytes, commit {COMMIT}\n"
    lines = ended.stderr.splitlines()
    assert lines[0] == f"progress 0 {total} bytes"
    assert lines[-1] == f"progress {total} {total} bytes"
    assert all(line.startswith("progress ") for line in lines)
    # Hard-linked to the cache, and never a symbolic link into it.
    blob = Path(stage.env["HF_HOME"], "hub", "models--owner--llava", "blobs")
    blob /= hashlib.sha256(WEIGHTS).hexdigest()
    assert (out / "model.safetensors").samefile(blob)
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_only_named_files_are_fetched(stage: Stage, hub: Hub, repo: Repo, out: Path) -> None:
    repo.files |= {"sub/a.json": b"{}", "original.safetensors": WEIGHTS, "tokenizer.model": b"t"}
    flags = ("--include", "*.json", "tokenizer.model", "--include", "model.safetensors")
    ended = stage.run(
        "download", "--output-dir", out, *source(), *flags, "--exclude", "sub/"
    ).done()
    assert set(tree(out)) == {"config.json", "tokenizer.model", "model.safetensors"}
    assert hub.fetched_names() == set(tree(out))
    assert "progress 0 " in ended.stderr


def test_cached_files_are_not_fetched_again(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    stage.run("download", "--output-dir", out, *source()).done()
    before = len(hub.bodies())
    stage.run("download", "--output-dir", tmp_path / "again", *source()).done()
    assert len(hub.bodies()) == before
    assert tree(tmp_path / "again") == MODEL


def test_same_output_twice_is_no_collision_but_other_content_is(
    stage: Stage, repo: Repo, out: Path
) -> None:
    stage.run("download", "--output-dir", out, *source()).done()
    stage.run("download", "--output-dir", out, *source()).done()
    (out / "config.json").unlink()
    (out / "config.json").write_text("mine")
    stage.run("download", "--output-dir", out, *source()).failed("ART101")
    assert (out / "config.json").read_text() == "mine"


def test_hostile_names_survive(stage: Stage, hub: Hub, out: Path) -> None:
    files = {"a1.json": b"not wanted", "a[1].json": b"a name with glob characters"}
    include = ["--include=a[[]1].json"]
    for hostile in HOSTILE:
        files |= {f"{hostile}/{hostile}.json": CONFIG, f"{hostile}.safetensors": WEIGHTS}
        include += [f"--include={hostile}/", f"--include={hostile}.safetensors"]
    hub.repos["owner/llava"] = Repo(files)
    stage.run("download", "--output-dir", out, *source(), *include).done()
    del files["a1.json"]
    assert tree(out) == files


def test_name_that_leaves_the_output_is_refused(stage: Stage, hub: Hub, out: Path) -> None:
    hub.repos["owner/llava"] = Repo({"config.json": CONFIG, "a/../../evil.json": b"x"})
    stage.run("download", "--output-dir", out, *source()).failed("ART104")
    assert not out.exists()


def test_dataset_repository(stage: Stage, hub: Hub, out: Path) -> None:
    hub.repos["owner/data"] = Repo({"train.json": b"[]"}, kind="dataset")
    flags = (*source(repo_id="owner/data"), "--repo-type", "dataset")
    stage.run("download", "--output-dir", out, *flags).done()
    assert tree(out) == {"train.json": b"[]"}


def test_cache_on_another_file_system_is_copied_from(
    stage: Stage, repo: Repo, out: Path, other_file_system: Path
) -> None:
    ended = stage.run(
        "download", "--output-dir", out, *source(), HF_HOME=str(other_file_system)
    ).done()
    assert tree(out) == MODEL
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert "note: 3 files were copied" in ended.stderr


# Interruptions


def test_dead_connection_exits_75_and_the_next_attempt_resumes(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=len(WEIGHTS) // 2, then_status=503)
    ended = stage.run("download", "--output-dir", out, *source()).failed("NET102", status=75)
    assert SIGNATURE not in ended.stderr
    kept = partial_bytes(stage)
    assert len(WEIGHTS) // 2 - 2 * MIB <= kept <= len(WEIGHTS) // 2
    hub.heal()
    stage.run("download", "--output-dir", tmp_path / "second", *source()).done()
    assert tree(tmp_path / "second") == MODEL
    assert hub.bodies("model.safetensors")[-1].range == f"bytes={kept}-"
    assert hub.bodies("model.safetensors")[-1].status == 206
    assert partial_bytes(stage) == 0


def test_connection_that_dies_once_is_resumed_within_the_attempt(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=len(WEIGHTS) // 2)
    stage.run("download", "--output-dir", out, *source()).done()
    assert tree(out) == MODEL
    assert hub.bodies("model.safetensors")[-1].status == 206


def test_killed_download_resumes(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=3 * MIB, hang=True)
    with stage.start("download", "--output-dir", out, *source()) as process:
        wait_until_partial(stage, process, MIB)
        process.kill()
        process.communicate()
    kept = partial_bytes(stage)
    hub.heal()
    stage.run("download", "--output-dir", tmp_path / "second", *source()).done()
    assert tree(tmp_path / "second") == MODEL
    assert hub.bodies("model.safetensors")[-1].range == f"bytes={kept}-"


def test_interrupted_download_exits_130_and_keeps_its_part(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    # Nothing more comes in, so that a worker that wakes first cannot bring it to its end.
    hub.mishaps["model.safetensors"] = Mishap(after=3 * MIB, hang=True, then_status=503)
    with stage.start("download", "--output-dir", out, *source()) as process:
        wait_until_partial(stage, process, MIB)
        process.send_signal(2)
        time.sleep(0.2)
        hub.released.set()  # the worker wakes and, by now or not, sees that it should stop
        _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert partial_bytes(stage) >= MIB


def test_server_that_ignores_ranges_gives_right_bytes(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=3 * MIB, then_status=503)
    stage.run("download", "--output-dir", out, *source()).failed("NET102", status=75)
    hub.heal()
    hub.ignore_ranges = True
    attempts = [stage.run("download", "--output-dir", out, *source()) for _ in range(2)]
    assert attempts[-1].status == 0, attempts[-1].stderr
    assert tree(out) == MODEL


def test_damaged_part_is_thrown_away(stage: Stage, hub: Hub, repo: Repo, out: Path) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=3 * MIB, then_status=503)
    stage.run("download", "--output-dir", out, *source()).failed("NET102", status=75)
    hub.heal()
    (part,) = Path(stage.env["HF_HOME"]).rglob("*.mmtrt.incomplete")
    part.write_bytes(bytes(part.stat().st_size))  # as after a power cut
    stage.run("download", "--output-dir", out, *source()).failed("NET104", status=75)
    stage.run("download", "--output-dir", out, *source()).done()
    assert tree(out) == MODEL


def test_cached_file_of_wrong_length_is_fetched_again(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    stage.run("download", "--output-dir", out, *source()).done()
    (pointer,) = Path(stage.env["HF_HOME"]).rglob("snapshots/*/model.safetensors")
    os.truncate(pointer, 1000)
    ended = stage.run("download", "--output-dir", tmp_path / "again", *source()).done()
    assert "has 1000 of" in ended.stderr
    assert tree(tmp_path / "again") == MODEL


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_processes_share_one_download(
    stage: Stage, hub: Hub, repo: Repo, tmp_path: Path
) -> None:
    hub.mishaps["model.safetensors"] = Mishap(after=3 * MIB, hang=True)
    with stage.start("download", "--output-dir", tmp_path / "1", *source()) as one:
        wait_until_partial(stage, one, MIB)
        with stage.start("download", "--output-dir", tmp_path / "2", *source()) as two:
            wait_until(lambda: has_open(two.pid, "*.mmtrt.incomplete"), two)
            hub.released.set()  # the first goes on, with a range
            ends = [process.communicate(timeout=LIMIT_S)[1] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), ends
    assert tree(tmp_path / "1") == tree(tmp_path / "2") == MODEL
    assert [asked.range is None for asked in hub.bodies("model.safetensors")] == [True, False]


def test_hub_that_is_down_exits_75(stage: Stage, repo: Repo, out: Path) -> None:
    ended = stage.run("download", "--output-dir", out, *source(), HF_ENDPOINT="http://127.0.0.1:9")
    ended.failed("NET101", status=75)
    assert "Connection refused" in ended.stderr


def test_pinned_and_cached_needs_no_hub(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub", minversion="2.0")
    stage.run("download", "--output-dir", out, *source()).done()
    down = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    ended = stage.run("download", "--output-dir", tmp_path / "again", *source(), **down).done()
    assert "the cache holds everything of this commit" in ended.stderr
    assert tree(tmp_path / "again") == MODEL
    stage.run("download", "--output-dir", tmp_path / "b", *source("main"), **down).failed(
        "NET101", 75
    )


def test_broken_hub_exits_75_and_a_strange_one_1(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    hub.refuse = lambda path: 503
    stage.run("download", "--output-dir", out, *source()).failed("NET102", status=75)
    hub.refuse = lambda path: 418
    stage.run("download", "--output-dir", out, *source()).failed("NET105")


# Offline


def test_branch_warns_and_is_then_known_offline(
    stage: Stage, hub: Hub, repo: Repo, out: Path, tmp_path: Path
) -> None:
    ended = stage.run("download", "--output-dir", out, *source("main")).done()
    assert "warning[MDL101]" in ended.stderr
    assert f"model.revision={COMMIT}" in ended.stderr
    assert tree(out) == MODEL
    asked = len(hub.log)
    for revision in (COMMIT, "main"):
        flags = ("--output-dir", tmp_path / revision, *source(revision))
        stage.run("download", *flags, HF_HUB_OFFLINE="1").done()
        assert tree(tmp_path / revision) == MODEL
    assert len(hub.log) == asked


def test_offline_without_cache(stage: Stage, hub: Hub, repo: Repo, out: Path) -> None:
    ended = stage.run("download", "--output-dir", out, *source(), HF_HUB_OFFLINE="1")
    ended.failed("NET103")
    assert "HF_HUB_OFFLINE" in ended.stderr
    assert hub.log == []


@pytest.mark.parametrize("name", ["model.safetensors", "*"])
def test_offline_with_a_file_missing(stage: Stage, repo: Repo, out: Path, name: str) -> None:
    flags = ("--output-dir", out, *source())
    stage.run("download", *flags, "--include", "config.json").done()
    stage.run("download", *flags, "--include", name, HF_HUB_OFFLINE="1").failed("NET103")
    assert set(tree(out)) == {"config.json"}


@pytest.mark.parametrize("cached", [("config.json",), tuple(MODEL)])
def test_offline_with_a_cache_that_nobody_filled_as_a_whole(
    stage: Stage, hub: Hub, repo: Repo, out: Path, cached: tuple[str, ...]
) -> None:
    """What other programs fetch file by file leaves no list of what belongs to the commit."""
    fetch = "import sys; from huggingface_hub import hf_hub_download as get\n"
    fetch += "for name in sys.argv[3:]: get(sys.argv[1], name, revision=sys.argv[2])"
    command = [sys.executable, "-c", fetch, "owner/llava", COMMIT, *cached]
    subprocess.run(command, env=stage.env, check=True, timeout=LIMIT_S)
    asked = len(hub.log)
    ended = stage.run("download", "--output-dir", out, *source(), HF_HUB_OFFLINE="1")
    assert "no list of the commit's files" in ended.failed("NET103").stderr
    assert not out.exists()
    assert len(hub.log) == asked
    stage.run("download", "--output-dir", out, *source()).done()
    assert tree(out) == MODEL


def test_a_list_that_the_library_keeps_will_do(stage: Stage, repo: Repo, out: Path) -> None:
    pytest.importorskip("huggingface_hub", minversion="2.0")
    fetch = "import sys, huggingface_hub as h; h.snapshot_download(sys.argv[1], revision='main')"
    command = [sys.executable, "-c", fetch, "owner/llava"]
    subprocess.run(command, env=stage.env, check=True, timeout=LIMIT_S)
    stage.run("download", "--output-dir", out, *source("main"), HF_HUB_OFFLINE="1").done()
    assert tree(out) == MODEL


def test_a_commit_without_the_weights_that_are_wanted(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    del repo.files["model.safetensors"]
    flags = ("--include", "*.json", "*.safetensors")
    ended = stage.run("download", "--output-dir", out, *source(), *flags).failed("MDL114")
    assert "has no weights: no file fits `*.safetensors`" in ended.stderr
    assert hub.bodies() == []
    assert not out.exists()


# Access


def test_gated_repository(stage: Stage, repo: Repo, out: Path) -> None:
    repo.gated = True
    ended = stage.run("download", "--output-dir", out, *source()).failed("MDL111")
    assert "no access token is set" in ended.stderr
    ended = stage.run("download", "--output-dir", out, *source(), HF_TOKEN="secret-token")
    ended.failed("MDL111")
    assert "accept the terms" in ended.stderr
    assert "secret-token" not in ended.stderr + ended.stdout


def test_token_opens_a_gated_repository_and_stays_on_the_hub(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    repo.gated = True
    ended = stage.run("download", "--output-dir", out, *source(), HF_TOKEN="good-token").done()
    assert "good-token" not in ended.stderr + ended.stdout
    assert {asked.authorization for asked in hub.log if asked.origin == "hub"} == {
        "Bearer good-token"
    }
    assert {asked.authorization for asked in hub.log if asked.origin == "storage"} == {None}


def test_refused_token(stage: Stage, hub: Hub, repo: Repo, out: Path) -> None:
    hub.refuse = lambda path: 401
    ended = stage.run("download", "--output-dir", out, *source(), HF_TOKEN="secret-token")
    ended.failed("MDL111")
    assert "secret-token" not in ended.stderr


def test_missing_repository(stage: Stage, hub: Hub, out: Path) -> None:
    ended = stage.run("download", "--output-dir", out, *source(repo_id="owner/lava"))
    ended.failed("MDL112")
    assert "`owner/lava`" in ended.stderr


def test_impossible_repository_name(stage: Stage, hub: Hub, out: Path) -> None:
    flags = source(repo_id="./my/own/model")
    stage.run("download", "--output-dir", out, *flags).failed("MDL112")
    assert hub.log == []


def test_missing_revision(stage: Stage, repo: Repo, out: Path) -> None:
    ended = stage.run("download", "--output-dir", out, *source("f" * 40)).failed("MDL113")
    assert "f" * 40 in ended.stderr


def test_missing_named_file_suggests_a_near_one(stage: Stage, repo: Repo, out: Path) -> None:
    flags = (*source(), "--include", "configs.json", "*.safetensors")
    ended = stage.run("download", "--output-dir", out, *flags).failed("MDL114")
    assert "name `config.json` instead" in ended.stderr


# Content


def test_pickles_are_not_fetched(stage: Stage, hub: Hub, repo: Repo, out: Path) -> None:
    repo.files |= {"pytorch_model.bin": b"pickle", "training_args.BIN": b"x", "a/b.nemo": b"x"}
    ended = stage.run("download", "--output-dir", out, *source()).done()
    assert tree(out) == MODEL
    assert hub.fetched_names() == set(MODEL)
    assert "pickled files are left out: `a/b.nemo`" in ended.stderr


def test_repository_with_pickles_only_is_refused(
    stage: Stage, hub: Hub, repo: Repo, out: Path
) -> None:
    repo.files = {"config.json": CONFIG, "pytorch_model.bin": b"pickle"}
    ended = stage.run("download", "--output-dir", out, *source()).failed("SEC101")
    assert "no safetensors at all" in ended.stderr
    assert "recipe.stages.download.allow_pickle=true" in ended.stderr
    assert not out.exists()
    assert hub.bodies() == []


def test_pickles_on_request(stage: Stage, repo: Repo, out: Path) -> None:
    repo.files = {"config.json": CONFIG, "pytorch_model.bin": b"pickle"}
    stage.run("download", "--output-dir", out, *source(), "--allow-pickle").done()
    assert tree(out) == repo.files


def test_served_lfs_pointer_is_refused(stage: Stage, repo: Repo, out: Path) -> None:
    repo.lfs = lambda name: False
    repo.files["model.safetensors"] = pointer_to(WEIGHTS)
    ended = stage.run("download", "--output-dir", out, *source()).failed("MDL115")
    assert "`model.safetensors`" in ended.stderr
    assert not out.exists()


def test_truncated_and_missing_shards_are_told_together(
    stage: Stage, repo: Repo, out: Path
) -> None:
    del repo.files["model.safetensors"]
    repo.files |= {
        "model-1.safetensors": WEIGHTS[:-1],
        "model.safetensors.index.json": index_of("model-1.safetensors", "model-2.safetensors"),
    }
    ended = stage.run("download", "--output-dir", out, *source()).failed("MDL116")
    assert f"is cut short: {len(WEIGHTS) - 1} of {len(WEIGHTS)} bytes" in ended.stderr
    assert "error[MDL117]: shards named by the index are missing: `model-2.saf" in ended.stderr


# Local directory


@pytest.fixture
def local(tmp_path: Path) -> Path:
    root = tmp_path / "my models" / "llava"
    for name, content in {
        **MODEL,
        "sub/a.json": b"{}",
        ".git/HEAD": b"x",
        ".cache/y": b"y",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_local_directory_is_linked(local: Path, out: Path) -> None:
    ended = call("download", "--output-dir", out, "--local-dir", local).done()
    assert tree(out) == {**MODEL, "sub/a.json": b"{}"}
    for path in (p for p in out.rglob("*") if not p.is_dir()):
        assert path.readlink() == (local / path.relative_to(out)).resolve()
    assert ended.stderr == ""


def test_local_links_are_followed_to_the_end(local: Path, out: Path) -> None:
    (local / "model.safetensors").rename(local.parent / "blob")
    (local / "model.safetensors").symlink_to("../blob")
    (local / "loop").symlink_to(".")
    call("download", "--output-dir", out, "--local-dir", local).done()
    assert (out / "model.safetensors").readlink() == (local.parent / "blob").resolve()
    assert not (out / "loop").exists()


def test_local_patterns_and_pickles(local: Path, out: Path) -> None:
    (local / "old.pt").write_bytes(b"x")
    flags = ("--local-dir", local, "--include", "*.safetensors", "*.pt", "*.json")
    ended = call("download", "--output-dir", out, *flags, "--exclude", "sub/*").done()
    assert set(tree(out)) == {"model.safetensors", "config.json"}
    assert "`old.pt`" in ended.stderr


def test_local_output_inside_the_directory_is_left_out(local: Path) -> None:
    for _ in range(2):
        call("download", "--output-dir", local / "out", "--local-dir", local).done()
    assert set(tree(local / "out")) == {*MODEL, "sub/a.json"}


@pytest.mark.parametrize("make", [True, False])
def test_missing_or_empty_local_directory(tmp_path: Path, out: Path, make: bool) -> None:
    if make:
        (tmp_path / "none" / ".git").mkdir(parents=True)
        (tmp_path / "none" / ".git" / "HEAD").write_text("x")
    call("download", "--output-dir", out, "--local-dir", tmp_path / "none").failed("MDL118")


def test_local_lfs_pointer(local: Path, out: Path) -> None:
    (local / "model.safetensors").write_bytes(pointer_to(WEIGHTS))
    ended = call("download", "--output-dir", out, "--local-dir", local).failed("MDL115")
    assert "git lfs pull" in ended.stderr
    assert not out.exists()


def test_local_broken_link(local: Path, out: Path) -> None:
    (local / "gone.json").symlink_to("nowhere")
    call("download", "--output-dir", out, "--local-dir", local).failed("ART106")


def test_local_hostile_names(tmp_path: Path, hostile: str) -> None:
    root = tmp_path / hostile
    root.mkdir()
    (root / f"{hostile}.json").write_bytes(CONFIG)
    call("download", "--output-dir", tmp_path / "out", "--local-dir", root).done()
    assert tree(tmp_path / "out") == {f"{hostile}.json": CONFIG}


# Command line


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--repo-id", "a/b"),
        ("--local-dir", "x", "--revision", "y"),
        ("--local-dir", "x", "--repo-id", "a/b"),
    ],
)
def test_usage_errors_exit_2(flags: tuple[str, ...]) -> None:
    ended = call("download", "--output-dir", "x", *flags)
    assert ended.status == 2
    assert "usage: python -m mmtrt.tasks.download" in ended.stderr


@pytest.mark.parametrize("name", ["download", "patch", "assemble"])
def test_help_loads_no_library(stage: Stage, name: str) -> None:
    ended = stage.run(name, "--help", PYTHONPROFILEIMPORTTIME="1").done()
    assert "example" in ended.stdout
    assert "mmtrt.tasks" in ended.stderr
    assert "huggingface_hub" not in ended.stderr
    assert "torch" not in ended.stderr
