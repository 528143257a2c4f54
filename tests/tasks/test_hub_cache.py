"""A download that is laid out as the hub's cache: libraries find what they ask for by its name.

What is loaded, and by which call, is what TensorRT-LLM 1.2 does: ``multimodal_builder.py`` for the
towers of NeVA, the constructor in InternLM-XComposer2's own code, ``video_preprocess`` of the
runner for CLIP's processor, and transformers' Pix2Struct for its font.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipConfig,
    SiglipModel,
)

from .conftest import Stage
from .hub_server import Hub, Repo

TOWER = "google/siglip-so400m-patch14-384"
CLIP = "openai/clip-vit-large-patch14-336"
FONTS = "ybelkada/fonts"
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 2}

LOAD = f"""
import json, sys
from huggingface_hub import hf_hub_download
from transformers import AutoModel, CLIPImageProcessor, CLIPVisionModel
tower = AutoModel.from_pretrained({TOWER!r}, dtype="bfloat16", trust_remote_code=True)
clip = CLIPVisionModel.from_pretrained({CLIP!r})
size = CLIPImageProcessor.from_pretrained({CLIP!r}).size
font = hf_hub_download({FONTS!r}, "Arial.TTF")
print(json.dumps([tower.vision_model.config.image_size, clip.config.hidden_size, dict(size)]))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Repositories as they are published, in small."""
    place = tmp_path_factory.mktemp("published")
    vision = {**SMALL, **HEADS, "image_size": 28, "patch_size": 14}
    text = {**SMALL, **HEADS, "vocab_size": 32, "max_position_embeddings": 8}
    SiglipModel(SiglipConfig(vision_config=vision, text_config=text)).save_pretrained(place / TOWER)
    CLIPVisionModel(CLIPVisionConfig(**vision)).save_pretrained(place / CLIP)
    CLIPImageProcessor(size={"shortest_edge": 336}).save_pretrained(place / CLIP)
    (place / FONTS).mkdir(parents=True)
    (place / FONTS / "Arial.TTF").write_bytes(b"a font")
    return {
        name: {path.name: path.read_bytes() for path in (place / name).iterdir()}
        for name in (TOWER, CLIP, FONTS)
    }


def test_libraries_find_it_by_name_without_network(
    stage: Stage, hub: Hub, published: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    caches = {}
    for index, (name, files) in enumerate(published.items()):
        hub.repos[name] = Repo(files, commit=f"{index:040x}")
        caches[name] = tmp_path / str(index)
        flags = ("--repo-id", name, "--revision", f"{index:040x}", "--hub-cache")
        stage.run("download", "--output-dir", caches[name], *flags).done()
    # One directory of links, as a user may make it: the layout of several is that of one.
    joined = tmp_path / "joined"
    joined.mkdir()
    for cache in caches.values():
        for repository in cache.iterdir():
            (joined / repository.name).symlink_to(repository)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(joined), "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [28, 16, {"shortest_edge": 336}]


def test_it_is_of_a_hub_alone(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    flags = ("--output-dir", tmp_path / "out", "--local-dir", tmp_path / "model", "--hub-cache")
    ended = stage.run("download", *flags)
    assert ended.status == 2
    assert "--hub-cache belongs to --repo-id" in ended.stderr
