"""``clone --url URL --output-dir DIR``: write what looks like a checkout; nothing is fetched."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmtrt.fake import files, log

TREES = {
    "VILA": ("llava/__init__.py", "llava/mm_utils.py", "llava/model/__init__.py"),
    "TensorRT-LLM": ("examples/README.md", "requirements.txt"),
}
"""Files that other tools look for, by the repository's name."""


def run(tool: str, words: Sequence[str]) -> int:
    """Write the stand-in of a repository."""
    parser = argparse.ArgumentParser(prog=tool)
    parser.add_argument("--url", required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--revision", default="HEAD")
    args = parser.parse_args(list(words))
    name = args.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    commit = files.digest(args.url, args.revision)[:40]
    for path in ("README.md", *TREES.get(name, ())):
        target = args.output_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"# Stand-in of {args.url} at {commit}.\n", encoding="utf-8")
    head = args.output_dir / ".git" / "HEAD"
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_text(commit + "\n", encoding="utf-8")
    log.plain(f"stand-in of {args.url} written")
    return 0
