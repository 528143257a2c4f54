"""Llama-like models for the tests of several ranks, small enough to be split in a moment."""

from __future__ import annotations

from importlib.util import find_spec

needed = ("torch", "transformers", "safetensors")
if any(find_spec(package) is None for package in needed):
    # Every test here needs the native extra.
    collect_ignore_glob = ["test_*.py"]
