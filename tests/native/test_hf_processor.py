from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from mmtrt.native.errors import NativeError
from mmtrt.native.hf_processor import load_processor
from tests.native.conftest import ROOT

# As much of torchvision as transformers looks at to believe that it is there.
STANDIN = {
    "torchvision/__init__.py": "",
    "torchvision/io.py": "",
    "torchvision/transforms/__init__.py": """
from enum import Enum
names = "NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS"
InterpolationMode = Enum("InterpolationMode", names)
""",
    "torchvision/transforms/functional.py": "pil_to_tensor = None",
    "torchvision/transforms/v2/__init__.py": "",
    "torchvision/transforms/v2/functional.py": "",
    "torchvision-0.28.0.dist-info/METADATA": "Name: torchvision\nVersion: 0.28.0\n",
}
PICTURES = """
import sys
from pathlib import Path
from transformers import AutoImageProcessor
from mmtrt.native.hf_processor import load_processor
model = Path(sys.argv[1])
by_default = type(AutoImageProcessor.from_pretrained(model)).__name__
images = load_processor(model, sys.argv[2]).image_processor
print(by_default, type(images).__name__, images.backend)
"""


@pytest.mark.parametrize("family", ["fuyu", "gemma3"])
def test_pillow_prepares_pictures_whatever_is_installed(family: str, tmp_path: Path) -> None:
    """transformers prefers torchvision, whose pixels are others."""
    from mmtrt.native.make_tiny import make_tiny

    make_tiny(family, tmp_path / "m", 0)
    for name, text in STANDIN.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_text(text)
    name = family.capitalize()
    done = subprocess.run(
        [sys.executable, "-c", PICTURES, tmp_path / "m", f"{name}Processor"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "p")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{name}ImageProcessor", f"{name}ImageProcessorPil", "pil"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", None),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "no json"),
        ("tokenizer_config.json", "no json"),
        ("processor_config.json", "no json"),
        ("processor_config.json", "[]"),
        ("processor_config.json", '{"image_processor": {"image_processor_type": "Unheard"}}'),
    ],
)
def test_missing_and_damaged_files_are_refused(
    file: str, content: str | None, tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m"
    shutil.copytree(tiny_model, model)
    (model / file).unlink()
    if content is not None:
        (model / file).write_text(content)
    with pytest.raises(NativeError) as caught:
        load_processor(model, "LlavaProcessor")
    assert caught.value.code == "RUN214" and str(model) in str(caught.value)
