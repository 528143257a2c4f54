"""Commands that are the same for every toolchain: those that fetch, write, patch and link."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mmtrt.backends.base import (
    ENV_LOCK,
    Command,
    In,
    Local,
    Out,
    Pair,
    Python,
    Resources,
    Skip,
    Unkeyed,
    Word,
)
from mmtrt.errors import PlanError
from mmtrt.stages import Assemble, Clone, Download, Env, Patch, Stage, Write

PROXY_VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)

HUB_VARIABLES = (
    *PROXY_VARIABLES,
    "HF_TOKEN",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_XET",
)
"""What huggingface_hub reads; handed on by name, so that tokens stay out of every record."""

GIT_VARIABLES = (*PROXY_VARIABLES, "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO")
"""What git reads to reach private repositories."""

PIP_VARIABLES = (
    *PROXY_VARIABLES,
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CONFIG_FILE",
    "PIP_TRUSTED_HOST",
    "PIP_CACHE_DIR",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_CONSTRAINT",
)
"""What pip reads; index addresses may hold a password."""

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
    if stage.questions is not None:
        return Command(
            argv=(
                *(Python(), "-m", "mmtrt.native.make_questions", "--output-dir", Out()),
                *("--task", stage.questions, "--count", str(stage.count)),
                *("--seed", str(stage.seed)),
            ),
            tools=("pyarrow", "numpy", "pillow"),
        )
    if stage.generate is not None:
        return Command(
            argv=(
                *(Python(), "-m", "mmtrt.native.make_tiny", "--output-dir", Out()),
                *("--family", stage.generate, "--seed", str(stage.seed)),
            ),
            tools=("torch", "transformers", "tokenizers"),
        )
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.download", "--output-dir", Out()]
    if stage.local_dir is not None:
        argv += ["--local-dir", Local("model", stage.local_dir)]
    elif stage.local_file is not None:
        argv += ["--local-file", Local(_file_name(stage), stage.local_file)]
    else:
        argv += ["--repo-id", str(stage.repo_id), "--revision", str(stage.revision)]
    if stage.include:
        argv += ["--include", *stage.include]
    if stage.exclude:
        argv += ["--exclude", *stage.exclude]
    if stage.allow_pickle:
        argv.append("--allow-pickle")
    if stage.hub_cache:
        argv.append("--hub-cache")
    for row in stage.expect:
        # They refuse other files and never change those that are taken.
        argv += [Unkeyed("--expect"), Unkeyed(row)]
    return Command(
        argv=tuple(argv),
        pass_env=HUB_VARIABLES,
        resources=Resources(network=stage.repo_id is not None),
        retry_exit_codes=frozenset({EX_TEMPFAIL}),
    )


def _file_name(stage: Download) -> str:
    return "projector" if "projector" in stage.id else "model"


def _clone(stage: Clone) -> Command:
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.clone", "--output-dir", Out()]
    argv += ["--url", stage.url, "--revision", stage.revision]
    for directory in stage.include:
        argv += ["--subdir", directory]
    return Command(
        argv=tuple(argv),
        pass_env=GIT_VARIABLES,
        resources=Resources(network=True),
        retry_exit_codes=frozenset({EX_TEMPFAIL}),
    )


def env(stage: Env, files: Mapping[str, Word]) -> Command | Skip:
    """Return the command that builds an environment.

    Args:
        stage: what to install.
        files: requirement -> where its file is, for those that name one.
    """
    if not stage.requirements:
        return Skip("no requirements")
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.env", "--output-dir", Out()]
    for requirement in stage.requirements:
        if requirement in files:
            argv += ["--requirements-file", files[requirement]]
        else:
            argv += ["--requirement", requirement]
    if stage.pins is not None:
        argv.append("--locked")
        for pin in stage.pins:
            argv += ["--pin", pin]
    return Command(
        argv=tuple(argv),
        pass_env=PIP_VARIABLES,
        outputs={"lock": ENV_LOCK, "python": "bin/python"},
        resources=Resources(network=True),
        tools=("python",),
        retry_exit_codes=frozenset({EX_TEMPFAIL}),
    )


def _plain_env(stage: Env) -> Command | Skip:
    return env(stage, {})


def _write(stage: Write) -> Command:
    argv: list[Word] = [Python(), "-m", "mmtrt.tasks.write", "--output-dir", Out()]
    for name, text in stage.files:
        argv += ["--file", f"{name}={text}"]
    return Command(argv=tuple(argv), outputs={name: name for name, _ in stage.files})


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
    Clone: _clone,
    Env: _plain_env,
    Write: _write,
    Patch: _patch,
    Assemble: _assemble,
}
