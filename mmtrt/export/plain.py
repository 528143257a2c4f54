"""The stages that mmtrt does itself, as commands that are on any machine with TensorRT-LLM."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from mmtrt.backends.base import ENV_LOCK, In, Local, Pair
from mmtrt.export.edits import literal, program
from mmtrt.export.names import here_document, indented, one_a_line
from mmtrt.export.places import Places
from mmtrt.plan.graph import Node
from mmtrt.stages import Assemble, Clone, Download, Env, Patch, Serve, Stage, Write

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.nemo")
"""Left out where a stage takes everything but what runs code when it is loaded."""


@dataclass(frozen=True)
class Plain:
    """How a stage is done without mmtrt."""

    lines: list[str]
    writes: tuple[str, ...] = ("",)
    """Paths below the output that must be there in the end; an empty one is the output itself."""
    keeps: bool = False
    """Whether what an earlier attempt wrote is of use."""


def plain(node: Node, places: Places) -> Plain | None:
    """Return the commands of a stage, ``None`` if its own command is plain already."""
    for kind, make in _FORMS.items():
        if isinstance(node.stage, kind):
            return make(node, node.stage, places)
    return None


def _download(node: Node, stage: Download, places: Places) -> Plain:
    output = places.output(node)
    assert node.command is not None
    own = [places.word(node, place) for place in node.command.places() if isinstance(place, Local)]
    if stage.local_file is not None:
        name = "model" + PurePath(stage.local_file).suffix
        target = places.output(node, name)
        return Plain([f"ln -s -- {own[0]} {target}"], (name,))
    if stage.local_dir is not None:
        return Plain([f"cp -as -- {own[0]}/. {output}/"])
    exclude = stage.exclude
    if not stage.include and not stage.allow_pickle:
        exclude += PICKLES
    if len(exclude) > 1:
        lines = _snapshot(stage, exclude, output)
        return Plain([*lines, *_main(node, stage, places), *_checked(stage, output)], keeps=True)
    fixed = (f"hf download {shlex.quote(str(stage.repo_id))}", False)
    revision = (f"--revision {shlex.quote(str(stage.revision))}", True)
    more = [(f"--exclude {shlex.quote(pattern)}", True) for pattern in exclude]
    target_dir = (f"--{'cache' if stage.hub_cache else 'local'}-dir {output}", True)
    if len(stage.include) < 2:
        more += [(f"--include {shlex.quote(pattern)}", True) for pattern in stage.include]
        lines = one_a_line([fixed, revision, *more, target_dir])
        return Plain([*lines, *_main(node, stage, places), *_checked(stage, output)], keeps=True)
    each = one_a_line([fixed, revision, ('--include "$files"', True), *more, target_dir])
    return Plain(
        [
            "# Releases of hf differ in how several patterns are given; one at a time suits all.",
            f"for files in {shlex.join(stage.include)}; do",
            *indented(each),
            "done",
            *_main(node, stage, places),
            *_checked(stage, output),
        ],
        keeps=True,
    )


def _main(node: Node, stage: Download, places: Places) -> list[str]:
    """Return how to let a cache's branch ``main``, which libraries ask for, mean the commit."""
    if not stage.hub_cache or re.fullmatch(r"[0-9a-f]{40}", str(stage.revision)) is None:
        return []
    refs = "--".join(["models", *str(stage.repo_id).split("/")]) + "/refs"
    return [
        f"mkdir -p -- {places.output(node, refs)}",
        f"printf %s {stage.revision} > {places.output(node, f'{refs}/main')}",
    ]


def _checked(stage: Download, output: str) -> list[str]:
    """Return how to hold large files against a lock; what else it knows takes more than a shell."""
    rows = (row.partition("=") for row in stage.expect)
    sums = [
        f"{digest.removeprefix('sha256:')}  {name}"
        for digest, _, name in rows
        if digest.startswith("sha256:")
    ]
    if not sums:
        return []
    mark, following = here_document("\n".join(sums))
    return [f"(cd -- {output} && sha256sum --check --quiet) {mark}", *following]


def _snapshot(stage: Download, exclude: tuple[str, ...], output: str) -> list[str]:
    """Return a download that leaves out several patterns, which ``hf`` takes in no common form."""
    lines = [
        "import sys",
        "from huggingface_hub import snapshot_download",
        "",
        "snapshot_download(",
        f"    {literal(str(stage.repo_id))},",
        f"    revision={literal(str(stage.revision))},",
        *(f"    allow_patterns={literal(stage.include)}," for _ in stage.include[:1]),
        f"    ignore_patterns={literal(exclude)},",
        f"    {'cache' if stage.hub_cache else 'local'}_dir=sys.argv[1],",
        ")",
    ]
    mark, following = here_document("\n".join(lines))
    return [f'"$PYTHON" - {output} {mark}', *following]


def _clone(node: Node, stage: Clone, places: Places) -> Plain:
    partial = " --filter=blob:none" if stage.include else ""
    only = f" -- {shlex.join(stage.include)}" if stage.include else ""
    lines = [
        "(",
        f"  cd -- {places.output(node)}",
        "  git init --quiet",
        f"  git remote add origin {shlex.quote(stage.url)}",
        f"  git fetch --quiet --depth 1{partial} origin {shlex.quote(stage.revision)}",
        f"  GIT_LFS_SKIP_SMUDGE=1 git checkout --quiet FETCH_HEAD{only}",
        "  rm -rf .git",
        ")",
    ]
    return Plain(lines, stage.include or ("",))


def _env(node: Node, stage: Env, places: Places) -> Plain:
    assert node.command is not None
    argv = node.command.argv
    wanted: list[tuple[str, bool]] = []
    for flag, value in pairwise(argv):
        if flag == "--requirements-file":
            wanted.append((f"--requirement {places.word(node, value)}", True))
        elif flag == "--requirement":
            wanted.append((places.word(node, value), True))
    # By the pip of $PYTHON: an environment on Debian cannot always bring its own.
    pip = f'"$PYTHON" -m pip --python {places.output(node, "bin/python")} install'
    lines = [f"make_env {places.output(node)}"]
    if stage.pins:
        lock = places.output(node, ENV_LOCK)
        # pip wants a hash of every package, or of none.
        is_hashed = all(" --hash=" in pin for pin in stage.pins)
        pins = stage.pins if is_hashed else [pin.partition(" --hash=")[0] for pin in stage.pins]
        mark, following = here_document("\n".join(pins))
        lines += [f"cat > {lock} {mark}", *following]
        wanted = [("--no-deps --ignore-installed", False), (f"--requirement {lock}", True)]
    if stage.pins != ():
        lines += one_a_line([(pip, False), *wanted])
    return Plain(lines, ("bin/python",))


def _write(node: Node, stage: Write, places: Places) -> Plain:
    lines = []
    for name, text in stage.files:
        target = places.output(node, name)
        if "/" in name:
            lines.append(f"mkdir -p -- {places.output(node, name.rpartition('/')[0])}")
        mark, following = here_document(text)
        lines += [f"cat > {target} {mark}", *following]
    return Plain(lines, tuple(name for name, _ in stage.files))


def _patch(node: Node, stage: Patch, places: Places) -> Plain:
    assert node.command is not None
    (model,) = (place for place in node.command.places() if isinstance(place, In))
    output = places.output(node)
    mark, following = here_document(program(stage.edits))
    lines = [
        f"link_tree {places.word(node, model)} {output}",
        f'"$PYTHON" -I - {output} {mark}',
        *following,
    ]
    return Plain(lines, tuple(dict.fromkeys(edit.file for edit in stage.edits)))


def _assemble(node: Node, stage: Assemble, places: Places) -> Plain:
    assert node.command is not None
    parts = [word for word in node.command.argv if isinstance(word, Pair)]
    names = [part.prefix.removesuffix("=") for part in parts]
    lines = [
        f"link_tree {places.word(node, part.place)} {places.output(node, name)}"
        for part, name in zip(parts, names)
    ]
    return Plain(lines, tuple(names))


def _serve(node: Node, stage: Serve, places: Places) -> Plain:
    assert node.command is not None
    argv = node.command.argv
    server = places.command(node, argv[argv.index("--") + 1 :], {"HF_HUB_OFFLINE": "1"})
    url = f"http://127.0.0.1:{stage.port}"
    lines = [
        f"cd -- {_work(node, places)}",
        f"if is_ready {url}; then",
        f'  echo "another server is at {url}" >&2',
        "  exit 1",
        "fi",
        *server[:-1],
        f"{server[-1]} &",
        "server=$!",
        "trap 'stop \"$server\"' EXIT",
        f'await_server "$server" {url} {stage.ready_timeout_s:.0f}',
        *(f"ask {url} {stage.max_new_tokens} {each}" for each in _questions(node, places)),
    ]
    if stage.hold:
        lines += ['echo "the server stays until Ctrl-C" >&2', 'wait "$server"']
    # Not in a shell of its own, which would outlive a script that is killed, and so the server.
    return Plain([*lines, 'stop "$server"', "trap - EXIT", 'cd -- "$OUT"'], ())


def _questions(node: Node, places: Places) -> list[str]:
    """Return prompts with their images: as many of either, or a single one for all."""
    assert node.command is not None
    prompts: list[str] = []
    images: list[str] = []
    argv = node.command.argv
    for word, following in pairwise(argv):
        if isinstance(word, str) and word.startswith("--input-text="):
            prompts.append(shlex.quote(word.partition("=")[2]))
        elif word == "--image-path":
            images.append(places.word(node, following))
        elif word == "--":
            break
    count = max(len(prompts), len(images))
    prompts *= count if len(prompts) == 1 else 1
    images *= count if len(images) == 1 else 1
    if not images:
        return prompts
    return [f"{prompt} {image}" for prompt, image in zip(prompts, images)]


def _work(node: Node, places: Places) -> str:
    return f'"$OUT/{places.directory(node)}/.work"'


_FORMS: dict[type[Stage], Callable[[Node, Any, Places], Plain]] = {
    Download: _download,
    Clone: _clone,
    Env: _env,
    Write: _write,
    Patch: _patch,
    Assemble: _assemble,
    Serve: _serve,
}
