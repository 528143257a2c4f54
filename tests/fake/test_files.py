"""Equal input gives equal bytes, and files are what they say."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from mmtrt.fake import files, options, pictures
from mmtrt.fake.download import wav
from mmtrt.fake.failure import ToolFailure
from tests.fake.conftest import Workshop, png
from tests.fake.readme import SCENARIOS


def snapshot() -> dict[str, str]:
    """Return the digest of every file below the working directory."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path().rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["vila", "blip2_t5", "internlm_xcomposer2", "phi4_multimodal"])
def test_equal_input_gives_equal_bytes(
    workshop: Workshop,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for _ in range(2):
        monkeypatch.chdir(tmp_path_factory.mktemp("again"))
        workshop.directory = Path.cwd()
        lines = workshop.build(name)
        found.append((snapshot(), workshop.ok(lines[-1])))
    assert found[0] == found[1]


def test_other_input_gives_other_engines(workshop: Workshop) -> None:
    convert, build, *_ = workshop.build("llava")
    engine = Path("tmp/trt_engines/llava-1.5-7b-hf/fp16/1-gpu/llm/rank0.engine")
    before = engine.read_bytes()
    workshop.ok(f"{build} --max_num_tokens 2048")
    assert engine.read_bytes() != before
    workshop.ok(build)
    assert engine.read_bytes() == before
    workshop.ok(f"{convert} --use_weight_only")
    workshop.ok(build)
    assert engine.read_bytes() != before


def test_safetensors_are_valid(tmp_path: Path) -> None:
    content = files.safetensors("t", files.digest("x"))
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    assert header["__metadata__"]["fake"] == "true" and size % 8 == 0
    assert len(content) == 8 + size + header["t"]["data_offsets"][1]


def test_download_takes_what_is_wanted(workshop: Workshop) -> None:
    workshop.settings(family="cogvlm", facts=SCENARIOS["cogvlm"].facts)
    workshop.ok("download --repo-id a/b --output-dir o --include *.json *.py --exclude visual.py")
    names = {path.name for path in Path("o").iterdir()}
    assert "config.json" in names and "modeling_cogvlm.py" in names
    assert not {"visual.py", "model.safetensors"} & names


def test_clone_names_its_commit(workshop: Workshop) -> None:
    workshop.settings()
    workshop.ok("clone --url https://example.org/VILA.git --output-dir code --revision v1")
    assert len(Path("code/.git/HEAD").read_text().strip()) == 40
    assert Path("code/llava/__init__.py").is_file()


def test_sizes_of_pictures(tmp_path: Path) -> None:
    png(tmp_path / "a.png", 30, 40)
    assert pictures.size(str(tmp_path / "a.png")) == (30, 40)
    jpeg = (
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 50, 60) + b"\0" * 9
    )
    (tmp_path / "b.jpg").write_bytes(jpeg)
    assert pictures.size(str(tmp_path / "b.jpg")) == (50, 60)
    (tmp_path / "c.png").write_bytes(b"text")
    with pytest.raises(ToolFailure, match="cannot identify image file"):
        pictures.size(str(tmp_path / "c.png"))


def test_length_of_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(3))
    assert pictures.wav_seconds(str(tmp_path / "a.wav")) == 3.0
    (tmp_path / "b.flac").write_bytes(b"fLaC")
    assert pictures.wav_seconds(str(tmp_path / "b.flac")) == 1.0


def test_options_files(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    path.write_text("a: 1\nb:\n  c: 0.5\n  d: 'x'\n# no\ne: null\nf: true\n")
    assert options.read(str(path)) == {"a": 1, "b": {"c": 0.5, "d": "x"}, "e": None, "f": True}


def test_stated_type_and_sample(workshop: Workshop) -> None:
    facts = SCENARIOS["llava_onevision"].facts
    workshop.settings(family="llava_onevision", facts=facts, hf_model_type=None)
    workshop.ok("download --repo-id a/b --output-dir o")
    assert "model_type" not in json.loads(Path("o/config.json").read_text())
    lines = workshop.build("llava_onevision")
    run = lines[-1].split(" --input_text")[0]
    assert "Maximum input length" in workshop.refused(run)
    workshop.settings(family="llava_onevision", facts=facts, sample_size=[480, 640])
    assert "singapore" in workshop.ok(run)
