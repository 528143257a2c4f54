"""A cached composition: the same, sooner, and only as long as nothing has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmtrt.config import cache
from mmtrt.config import compose as module
from mmtrt.config.compose import Composed, compose
from mmtrt.config.root import recipes_root, search_dirs
from mmtrt.errors import RecipeError
from tests.calls import calls_of
from tests.config.conftest import MakeUserDir
from tests.config.test_compose import MANY

HEAVY = ("hydra", "omegaconf", "yaml", "antlr4", "rich", "torch", "numpy", "importlib.metadata")


def age(*paths: Path, seconds: float = 10) -> None:
    """Make files look old. Change times cannot be set, so wait until they count as settled."""
    for path in paths:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))
    time.sleep(cache.RACY_NS / 1e9 * 1.5)


def entries() -> list[Path]:
    place = cache.directory()
    assert place is not None
    return sorted(path for path in place.glob("*.json") if "installed" not in path.name)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return a list that grows by each composition that Hydra does."""
    calls: list[tuple[str, ...]] = []
    real = module.compose_anew

    def counted(
        words: tuple[str, ...], dirs: tuple[Path, ...], name: str
    ) -> tuple[Composed, list[str] | None]:
        calls.append(words)
        return real(words, dirs, name)

    monkeypatch.setattr(module, "compose_anew", counted)
    return calls


@pytest.mark.parametrize("overrides", MANY, ids=" ".join)
def test_hit_equals_composing_anew(overrides: list[str], anew: list[tuple[str, ...]]) -> None:
    fresh = compose(overrides)
    again = compose(overrides)
    assert len(anew) == 1
    assert again == fresh
    for path in (("tp",), ("recipe", "title"), ("run", "image", 0), ("quant", "block_size")):
        assert again.where(path) == fresh.where(path)


def test_hit_imports_nothing_heavy() -> None:
    compose(["recipe=llava", "tp=2"])
    script = (
        "import sys\n"
        "from mmtrt.config.compose import compose\n"
        "assert compose(['recipe=llava', 'tp=2']).settings.tp == 2\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # The first process may have other entries in sys.path, and so other packages to ask about.
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-S", "-c", script], capture_output=True, text=True, env=env | site()
        )
    assert done.stdout == "[]\n", done.stderr


def site() -> dict[str, str]:
    """Return a PYTHONPATH with the installed packages: -S keeps their .pth files from running."""
    packages = str(Path(pytest.__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[2]), packages))}


def test_hit_opens_a_few_files_and_reads_no_recipe() -> None:
    compose(["recipe=llava"])
    compose(["recipe=llava"])
    counts = calls_of(lambda: compose(["recipe=llava"]))
    assert counts["open"] <= 8  # measured: 6, of some 80 that are looked at
    assert counts.total() < 20_000  # measured: 6,600; benchmarks/test_compose.py tells the time


def test_touched_file_is_composed_anew(user_dir: MakeUserDir, anew: list[tuple[str, ...]]) -> None:
    root = user_dir()
    path = root / "recipe/mine.yaml"
    age(path)
    compose(["recipe=mine"], [root])
    compose(["recipe=mine"], [root])
    assert len(anew) == 1
    os.utime(path)
    compose(["recipe=mine"], [root])
    assert len(anew) == 2


def test_changed_file_of_equal_size_and_time_is_composed_anew(
    user_dir: MakeUserDir, anew: list[tuple[str, ...]]
) -> None:
    root = user_dir()
    path = root / "recipe/mine.yaml"
    age(path)
    assert compose(["recipe=mine"], [root]).settings.recipe.title == "Mine"
    before = path.stat()
    path.write_text(path.read_text().replace("title: Mine", "title: Thin"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert compose(["recipe=mine"], [root]).settings.recipe.title == "Thin"
    assert len(anew) == 2


def test_file_written_just_now_is_not_cached(user_dir: MakeUserDir) -> None:
    root = user_dir()
    path = root / "recipe/mine.yaml"
    age(path)
    late = time.time_ns() + 3600 * 10**9  # "just now" passes while this process waits for a core
    os.utime(path, ns=(late, late))
    compose(["recipe=mine"], [root])
    assert entries() == []
    os.utime(path, ns=(late - 7200 * 10**9,) * 2)
    age(path)
    compose(["recipe=mine"], [root])
    assert len(entries()) == 1


def test_new_file_is_composed_anew(user_dir: MakeUserDir, anew: list[tuple[str, ...]]) -> None:
    root = user_dir()
    age(root / "recipe/mine.yaml")
    compose(["recipe=mine"], [root])
    (root / "recipe/llava.yaml").write_text("name: llava\n")
    compose(["recipe=mine"], [root])
    assert len(anew) == 2


def test_environment_variable_counts(
    monkeypatch: pytest.MonkeyPatch, anew: list[tuple[str, ...]]
) -> None:
    assert compose(["recipe=llava"]).settings.paths.store == "outputs/store"
    monkeypatch.setenv("MMTRT_STORE", "/elsewhere")
    assert compose(["recipe=llava"]).settings.paths.store == "/elsewhere"
    assert compose(["recipe=llava"]).settings.paths.store == "/elsewhere"
    assert len(anew) == 2
    monkeypatch.delenv("MMTRT_STORE")
    assert compose(["recipe=llava"]).settings.paths.store == "outputs/store"
    monkeypatch.setenv("UNRELATED", "1")
    compose(["recipe=llava"])
    assert len(anew) == 3


def test_environment_variable_of_an_override_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["recipe=llava", "model.path=${oc.env:MMTRT_TEST}"]
    for value in ("a", "b"):
        monkeypatch.setenv("MMTRT_TEST", value)
        assert compose(words).settings.model.path == value


def test_values_of_variables_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMTRT_TEST", "a secret")
    compose(["recipe=llava", "run.prompt=${oc.env:MMTRT_TEST}"])
    (path,) = entries()
    assert "a secret" not in json.dumps(json.loads(path.read_text())["env"])
    assert path.stat().st_mode & 0o077 == 0


def test_config_dir_counts(user_dir: MakeUserDir, anew: list[tuple[str, ...]]) -> None:
    root = user_dir()
    age(root / "recipe/mine.yaml")
    compose(["recipe=llava"])
    compose(["recipe=llava"], [root])
    compose(["recipe=llava"], [root])
    assert len(anew) == 2


@pytest.mark.parametrize(
    "value",
    ["${now:%H}", "'${oc.env:${variant}}'", "${hydra:job.name}", "${oc.select:variant,x}"],
)
def test_other_resolvers_are_not_cached(value: str) -> None:
    compose(["recipe=llava", "variant=HOME", f"run.prompt={value}"])
    assert entries() == []


def test_resolver_in_a_file_is_not_cached(user_dir: MakeUserDir) -> None:
    root = user_dir(("title: Mine", 'title: "${now:%H}"'))
    age(root / "recipe/mine.yaml")
    compose(["recipe=mine"], [root])
    assert entries() == []


def test_searchpath_is_not_cached(user_dir: MakeUserDir) -> None:
    compose(["recipe=mine", f"hydra.searchpath=[{user_dir()}]"])
    assert entries() == []


def test_errors_are_not_cached() -> None:
    for _ in range(2):
        with pytest.raises(RecipeError):
            compose(["recipe=llava", "tp=x"])
    assert entries() == []


@pytest.mark.parametrize("value", ["2.0", "{a: 2020-01-01}", "[1, {b: null}]"])
def test_values_that_schema_leaves_open_come_back(value: str) -> None:
    words = ["recipe=llava", f"+recipe.run.extra={value}"]
    assert compose(words).data == compose(words).data


def test_values_that_json_would_change_are_not_cached(user_dir: MakeUserDir) -> None:
    for value in (".inf", "{1: a}", "!!binary aGk="):
        root = user_dir(("dtype: float16", f"dtype: float16\nrun: {{prompt: {value}}}"))
        age(root / "recipe/mine.yaml")
        compose(["recipe=mine"], [root])
        assert entries() == []


def test_switched_off(monkeypatch: pytest.MonkeyPatch, anew: list[tuple[str, ...]]) -> None:
    monkeypatch.setenv("MMTRT_COMPOSE_CACHE", "0")
    compose(["recipe=llava"])
    compose(["recipe=llava"])
    assert len(anew) == 2
    assert not Path(os.environ["MMTRT_CACHE_DIR"]).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"schema": 1}',
        b'{"schema": 1, "key": 1, "data": {}, "sources": 3, "set_by": [], "env": {}}',
        b"[" * 100_000,
    ],
)
def test_bad_entry_is_as_good_as_none(content: bytes, anew: list[tuple[str, ...]]) -> None:
    fresh = compose(["recipe=llava"])
    (path,) = entries()
    path.write_bytes(content)
    assert compose(["recipe=llava"]) == fresh
    assert compose(["recipe=llava"]) == fresh
    assert len(anew) == 2


@pytest.mark.parametrize("change", [{"data": {"tp": 1}}, {"sources": 3}, {"env": {"A": "x"}}])
def test_entry_of_another_shape_is_as_good_as_none(
    change: dict[str, object], anew: list[tuple[str, ...]]
) -> None:
    fresh = compose(["recipe=llava"])
    (path,) = entries()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert compose(["recipe=llava"]) == fresh
    assert len(anew) == 2


def test_unwritable_cache_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMTRT_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert compose(["recipe=llava"]) == compose(["recipe=llava"])


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMTRT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.directory() == tmp_path / "xdg/mmtrt/compose"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache/mmtrt/compose"


def test_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 5)
    for number in range(9):
        cache.save(f"{number}", cache.Entry({}, [], [], {}))
        path = entries()[-1]
        os.utime(path, ns=(number, number))
    assert [path.stem for path in entries()] == ["4", "5", "6", "7", "8"]
    assert all(not path.name.startswith(".") for path in entries())


def test_large_directory_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 50)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(60):
        (many / str(number)).touch()
    assert cache.yaml_files([str(many)]) is None
    compose(["recipe=llava"], [many])
    assert entries() == []


def test_versions_count() -> None:
    place = [str(each) for each in search_dirs()]
    seen = {
        cache.key([], "config", place, cache.Installed({"hydra-core": version}, ()))
        for version in ("1.3.8", "1.4.0")
    }
    assert len(seen) == 2
    assert cache.installed().versions.keys() == set(cache.DISTRIBUTIONS)


def test_code_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = [str(recipes_root())]
    before = cache.key([], "config", place, cache.installed())
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    assert cache.key([], "config", place, cache.installed()) != before


def test_order_of_overrides_counts() -> None:
    assert compose(["recipe=llava", "tp=1", "tp=2"]).settings.tp == 2
    assert compose(["recipe=llava", "tp=2", "tp=1"]).settings.tp == 1


def test_variables_that_texts_mention() -> None:
    assert cache.env_mentioned(["a: ${oc.env:A,x}/${b.c}", "${oc.env: B }"]) == {"A", "B"}
    assert cache.env_mentioned(["a: ${oc.env:${b}}"]) is None
    assert cache.env_mentioned(["${oc.env:A}", "${x:1}"]) is None


def test_shipped_files_can_be_cached() -> None:
    texts = [path.read_text() for path in recipes_root().rglob("*.yaml")]
    assert cache.env_mentioned(texts) is not None
