"""The one way into the store: hash, seal, sync, write the manifest, rename."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtrt.artifacts import layout
from mmtrt.artifacts.atomic import sync_all
from mmtrt.artifacts.digest import DigestMemo
from mmtrt.artifacts.faults import explained
from mmtrt.artifacts.keys import key_of
from mmtrt.artifacts.lookup import Artifact, Hit, look_up
from mmtrt.artifacts.manifest import Manifest, tree_digest
from mmtrt.artifacts.outputs import Output, seal, settle
from mmtrt.artifacts.staging import Staging, discard_aside, move_aside, rename_new, write_json
from mmtrt.errors import ArtifactError


def publish(
    root: Path,
    staging: Staging,
    memo: DigestMemo,
    replaces: bool,
    inputs: Sequence[Artifact] = (),
    *,
    key_document: dict[str, Any],
    **fields: Any,
) -> Artifact:
    """Put a staging directory in place; see ``Store.publish``, which names the errors.

    Args:
        root: of the store.
        staging: as the command left it.
        memo: knows the digests of linked files.
        replaces: whether an intact artifact of the key gives way.
        inputs: artifacts whose files may be linked in the output.
        key_document: what the key is the hash of.
        fields: the rest of the manifest, but for what the staging directory and its files say.
    """
    staging.require_open()
    kind, key, name = staging.kind, staging.key, staging.name
    if key_of(key_document) != key:
        raise ArtifactError(
            f"{key} is not the key of the document",
            code="ART144",
            why="the artifact could never be verified under it",
        )
    final = root / kind / key
    if not replaces and isinstance(found := look_up(os.fspath(final), kind, key), Hit):
        staging.discard()
        return found.artifact
    with explained("store", staging.directory):
        staging.clear(keep=layout.LOGS | {name})
        write_json(staging.command, fields["command"])
        output = seal(staging.path, final / name, memo, inputs)
        manifest = Manifest(
            kind=kind,
            key=key,
            name=name,
            key_document=key_document,
            digest=tree_digest(output.entries),
            files=output.entries,
            **fields,
        )
        manifest = _settle(staging, manifest, output, final / name, memo, inputs)
        memo.flush()
        existing = _move_in(root, staging, final, replaces)
    return existing or Artifact(kind, key, final, manifest)


def _settle(
    staging: Staging,
    manifest: Manifest,
    output: Output,
    final: Path,
    memo: DigestMemo,
    inputs: Sequence[Artifact],
) -> Manifest:
    """Write the manifest and bring all to the disk; once more if a file's time moved.

    Network file systems may correct a time when the data reaches the server.
    """
    for is_last in (False, True):
        manifest.write(staging.manifest, sync=False)
        try:
            settle(staging.path, output, (staging.manifest, staging.directory))
            break
        except ArtifactError as error:
            if is_last or error.code != "ART165":
                raise
        output = seal(staging.path, final, memo, inputs)
        manifest = replace(manifest, files=output.entries, digest=tree_digest(output.entries))
    return manifest


def _move_in(root: Path, staging: Staging, final: Path, replaces: bool) -> Artifact | None:
    """Rename into place; return the artifact that was there if that one is kept."""
    kind_directory = final.parent
    is_first = not kind_directory.exists()
    kind_directory.mkdir(parents=True, exist_ok=True)
    aside = None
    while not rename_new(staging.directory, final):
        found = look_up(os.fspath(final), staging.kind, staging.key)
        if isinstance(found, Hit) and not replaces:
            staging.discard()
            return found.artifact
        discard_aside(aside)
        aside = move_aside(root, final)
        replaces = False  # one that appears from now on is as good as ours
    staging.moved_to(final)
    sync_all([os.fspath(kind_directory), *([os.fspath(root)] if is_first else [])])
    discard_aside(aside)
    return None
