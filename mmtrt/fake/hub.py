"""What the tools ask the hub for by name, beside the model that they are given.

A stand-in fetches nothing. It looks whether the real tool would find the name: in the cache that
``HF_HUB_CACHE`` names, or on the hub, if the stage may use the network.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from mmtrt.fake import failure, settings

CLIP = "openai/clip-vit-large-patch14"
INTERN_VIT = "OpenGVLab/InternViT-300M-448px"
FONTS = "ybelkada/fonts"

ASKED: dict[tuple[str, str], str] = {
    # Of the model's own code: build_mlp.py, CLIPVisionTower, in the constructor.
    ("convert", "internlm_xcomposer2"): f"{CLIP}-336",
    ("build_vision", "internlm_xcomposer2"): f"{CLIP}-336",
    # multimodal_builder.py
    ("build_vision", "internvl2"): INTERN_VIT,
    ("build_vision", "neva"): "google/siglip-so400m-patch14-384",  # unless the file names another
    ("build_vision", "video_neva"): CLIP,
    ("build_vision", "qwen2_vl"): "https://qianwen-res.oss-cn-beijing.aliyuncs.com/.../demo.jpeg",
    # transformers, image_processing_pix2struct.py: render_text, where is_vqa is true
    ("build_vision", "deplot"): FONTS,
    ("run", "deplot"): FONTS,
    # multimodal_model_runner.py: init_processor, video_preprocess, load_test_data
    ("run", "internvl2"): INTERN_VIT,
    ("eval", "internvl2"): INTERN_VIT,
    ("run", "video_neva"): CLIP,
    ("run", "nougat"): "hf-internal-testing/fixtures_docvqa",
    ("run", "fuyu"): "adept/fuyu-8b",
    ("run", "internlm_xcomposer2"): "https://huggingface.co/internlm/.../image1.webp",
}
"""Kind of stage, family -> what it asks for; an address where it is a picture."""

CONFIG = "./model_config.yaml"


def require_of(stage: str, family: str, model: str | None = None) -> None:
    """Stop unless what a tool asks for beside its model will be there.

    Args:
        stage: kind of the stage.
        family: a key of ``families.FAMILIES``.
        model: place of the model; a ``.nemo`` file says itself which tower it needs.
    """
    name = ASKED.get((stage, family))
    if name is not None:
        require((_named_in(model) if family.endswith("neva") else None) or name)


def require(name: str) -> None:
    """Stop unless a repository is in the cache or may be fetched.

    Raises:
        ToolFailure: as transformers and huggingface_hub fail offline.
    """
    cache = Path(os.environ.get("HF_HUB_CACHE", ""), "--".join(["models", *name.split("/")]))
    ref = cache / "refs" / "main"
    is_there = ref.is_file() and any((cache / "snapshots" / ref.read_text()).glob("*"))
    failure.require(
        is_there or settings.read().network,
        "OSError",
        f"We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find "
        f"them in the cached files: {name}",
    )


def _named_in(nemo: str | None) -> str | None:
    """Return ``from_pretrained`` of a ``.nemo`` file, if it is one."""
    try:
        with tarfile.open(str(nemo)) as archive:
            stream = archive.extractfile(CONFIG)
            text = "" if stream is None else stream.read().decode()
    except (OSError, KeyError, tarfile.TarError, UnicodeDecodeError):
        return None
    _, _, tower = text.partition("vision_encoder:")
    _, found, rest = tower.partition("from_pretrained:")
    return rest.split()[0].strip("'\"") if found else None
