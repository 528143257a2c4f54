"""The disk of the machine for which examples are planned."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from mmtrt.rules.host import disk_short

FREE_BYTES = 100 << 30


@pytest.fixture(autouse=True)
def small_disk(monkeypatch):
    """Let every store lie on a disk with 100 GiB free, whatever this machine has."""
    monkeypatch.setattr(disk_short, "free_bytes", lambda plan: FREE_BYTES)


def write_nemo(path: Path, tower: str) -> None:
    """Write a NeVA checkpoint as NeMo packs it: a tar with the configuration and the weights."""
    config = f"""\
hidden_size: 4096
mm_cfg:
  llm: {{from_pretrained: null, freeze: true}}
  vision_encoder:
    from_pretrained: {tower}  # path or name
    hidden_size: 1024
  mm_mlp_adapter_type: mlp2x_gelu
"""
    parts = {"./model_config.yaml": config.encode(), "./model_weights.ckpt": b"weights"}
    with tarfile.open(path, "w") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
