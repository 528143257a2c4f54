"""Commands that are the same for every toolchain: download, patch, assemble."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mmtrt.backends.base import Command, In, Local, Out, Pair, Python, Resources, Skip, Word
from mmtrt.errors import PlanError
from mmtrt.stages import Assemble, Download, Patch, Stage

HUB_VARIABLES = (
    "HF_TOKEN",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_XET",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)
"""What huggingface_hub reads; handed on by name, so that tokens stay out of every record."""

EX_TEMPFAIL = 75
"""Exit status by which ``mmtrt.tasks.download`` says that the network failed (sysexits.h)."""


def lower(
    stage: Stage, toolchain: str, own: Mapping[type[Stage], Callable[[Any], Command | Skip]]
) -> Command | Skip:
    """Return the command of a stage: a neutral one, or the toolchain's ``own`` for its type.

    Raises:
        PlanError: ENG101 if neither knows the type.
    """
    for kind, make in {**_NEUTRAL, **own}.items():
        if isinstance(stage, kind):
            return make(stage)
    raise PlanError(f"backend {toolchain} has no stage of kind {stage.KIND}", code="ENG101")


def _download(stage: Download) -> Command:
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.download", "--output-dir", Out()]
    if stage.local_dir is not None:
        argv += ["--local-dir", Local("model", stage.local_dir)]
    else:
        argv += ["--repo-id", str(stage.repo_id), "--revision", str(stage.revision)]
    if stage.include:
        argv += ["--include", *stage.include]
    if stage.exclude:
        argv += ["--exclude", *stage.exclude]
    if stage.allow_pickle:
        argv.append("--allow-pickle")
    return Command(
        argv=tuple(argv),
        pass_env=HUB_VARIABLES,
        resources=Resources(network=stage.local_dir is None),
        retry_exit_codes=frozenset({EX_TEMPFAIL}),
    )


def _patch(stage: Patch) -> Command | Skip:
    if not stage.edits:
        return Skip("no edits")
    edits = [
        {key: value for key, value in vars(edit).items() if value is not None}
        for edit in stage.edits
    ]
    return Command(
        argv=(
            *(Python(), "-m", "mmtrt.tasks.patch", "--source-dir", In("model")),
            *("--output-dir", Out(), "--edits", json.dumps(edits)),
        )
    )


def _assemble(stage: Assemble) -> Command:
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.assemble", "--output-dir", Out()]
    for port in stage.needs:
        argv += ["--part", Pair(f"{port}=", In(port))]
    return Command(argv=tuple(argv), outputs={port: port for port in stage.needs})


_NEUTRAL: dict[type[Stage], Callable[[Any], Command | Skip]] = {
    Download: _download,
    Patch: _patch,
    Assemble: _assemble,
}
