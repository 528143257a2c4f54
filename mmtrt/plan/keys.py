"""The key document of a node: everything that determines its output, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmtrt.backends.base import Choice, Unkeyed, symbol
from mmtrt.plan.graph import Node
from mmtrt.redaction import FORMS

KEY_VERSION = 2
"""Raised when the shape of key documents changes; every artifact is then built anew."""


def key_document(node: Node, choice: Choice, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what is hashed into the key of a node.

    Args:
        node: a node that has a command.
        choice: the backend, whose toolchain identity enters.
        digests: symbol of each place that the command reads -> digest of its content.
    """
    # Credentials are not what an output depends on, and the document is kept.
    redacted: dict[str, Any] = FORMS.tree(static_document(node, choice, digests))
    return redacted


def static_document(node: Node, choice: Choice, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the same with what a user may have typed by mistake in it; it must not be kept."""
    stage, command = node.stage, node.command
    assert command is not None
    document: dict[str, Any] = {
        "schema": KEY_VERSION,
        "kind": stage.KIND,
        "stage_version": stage.VERSION,
        # Some tools read the model's name out of the path of their input.
        "model": stage.model_name,
        "argv": [symbol(word) for word in command.argv if not isinstance(word, Unkeyed)],
        "env": dict(command.env),
        "cwd": None if command.cwd is None else command.cwd.symbol(),
        "inputs": {place.symbol(): digests[place.symbol()] for place in command.places()},
        "toolchain": {
            "backend": choice.backend.name,
            "versions": choice.backend.tool_versions(command.tools),
        },
    }
    is_tied = stage.IS_ENGINE and not command.is_portable
    if is_tied and (gpu := choice.backend.gpu_class()) is not None:
        document["gpu"] = gpu
    return document


def selection(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which files of a local directory count: those that a download stage takes."""
    stage = node.stage
    return getattr(stage, "include", ()), getattr(stage, "exclude", ())
