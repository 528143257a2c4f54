#!/usr/bin/env python3
"""Run what is packed here: check the files, then ask the model.

usage: run [--output-dir DIR] [--dry-run] [--no-check] [FLAG [VALUE ...]] ...

Without flags the request is repeated that was made before packing. Flags are those of the
runtime; each takes the place of the recorded one of the same name.

  --output-dir DIR    where results are written; else a temporary directory
  --examples-dir DIR  example scripts of TensorRT-LLM, if the pack runs one of them
  --dry-run           print the command and do not run it
  --no-check          neither hash files nor look at versions
"""

# Copied into every pack as `run`. It needs Python 3.10 and nothing else of its own.
from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

SUMS = "SHA256SUMS"
EXAMPLES = "/app/tensorrt_llm/examples"
_CHUNK_BYTES = 1 << 20


class Refused(Exception):
    """What is packed here cannot be run; the text says why."""


def main(argv: list[str]) -> int:
    """Check and run; return the exit status: that of the runtime, or 2 for a pack that is bad."""
    if "-h" in argv or "--help" in argv:
        print(__doc__.strip())  # noqa: T201 - a program of its own
        return 0
    here = Path(__file__).resolve().parent
    try:
        own, flags = _split(argv)
        pack = _read(here)
        if "no-check" not in own:
            check_files(here)
            check_machine(pack)
        with tempfile.TemporaryDirectory(prefix="pack-") as scratch:
            output = Path(own.get("output-dir") or scratch)
            output.mkdir(parents=True, exist_ok=True)
            command = words(pack, here, output.resolve(), flags, own.get("examples-dir"))
            if "dry-run" in own:
                print(shlex.join(command))  # noqa: T201
                return 0
            # In the user's own directory: flags may name files relative to it.
            status = subprocess.call(command, env=environment(pack, here))
            if status == 0:
                _print_answers(output / "result.json")
            return status
    except Refused as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def check_files(here: Path) -> None:
    """Compare every file with its digest.

    Raises:
        Refused: naming the first file that is missing or has another content.
    """
    try:
        lines = (here / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Refused(f"{SUMS} cannot be read: unpack it again") from error
    for line in lines:
        wanted, _, name = line.partition("  ")
        hasher = hashlib.sha256()
        try:
            with (here / name).open("rb") as file:
                while True:
                    chunk = file.read(_CHUNK_BYTES)
                    if not chunk:
                        break
                    hasher.update(chunk)
        except OSError as error:
            raise Refused(f"{name} is missing: unpack it again") from error
        if hasher.hexdigest() != wanted:
            raise Refused(f"{name} is not the file that was packed: unpack it again")


def check_machine(pack: dict[str, Any]) -> None:
    """Compare versions and GPU with what the engines are tied to.

    Raises:
        Refused: for a package that is missing, or another version or GPU than they were built for.
    """
    for need in pack["needs"]:
        names = [need["package"], *need.get("or", ())]
        found = next(filter(None, map(_version, names)), None)
        exact = need.get("version")
        if found is None:
            version = need.get("version") or need.get("built_with")
            pin = f"=={version}" if version else ""
            raise Refused(
                f"{need['package']} is not installed: pip install '{need['package']}{pin}'"
            )
        if exact is not None and _plain(found) != _plain(exact):
            raise Refused(
                f"these engines need {need['package']} {exact}, here is {found}; --no-check tries"
            )
    sm = (pack.get("gpu") or {}).get("sm")
    here = _compute_capabilities() if isinstance(sm, int) else []
    if here and sm not in here:
        raise Refused(
            f"these engines are for GPUs of compute capability {sm}, here is {here[0]}; "
            "--no-check tries"
        )


def words(
    pack: dict[str, Any],
    here: Path,
    output: Path,
    flags: list[tuple[str, list[str]]],
    examples: str | None = None,
) -> list[str]:
    """Return the command: the packed one, flags of the user's in the place of its own.

    Raises:
        Refused: if the example scripts are not on this machine.
    """
    groups = [(group[0], list(group[1:])) for group in pack["flags"]]
    known = {_name(flag): flag for flag, _ in groups}
    given = [(known.get(_name(flag), flag), values) for flag, values in flags]
    replaced = {flag for flag, _ in given}
    ours = [*pack["program"], *_joined([group for group in groups if group[0] not in replaced])]
    theirs = _joined(given)

    def real(found: re.Match[str]) -> str:
        text = found.group(0)
        if text in ("{{", "}}"):
            return text[0]
        if text == "{out}":
            return str(output)
        if text == "{python}" or text.startswith("{in.env}"):
            return sys.executable
        if text == "{examples}":
            return _examples(examples)
        kind, _, name = text[1:-1].partition(".")
        return str(here / ("inputs" if kind == "local" else "") / name)

    pattern = re.compile(r"\{\{|\}\}|\{in\.env\}/bin/python|\{(?:in|local)\.[^{}]+\}|\{\w+\}")
    # What the user typed is taken as it is.
    return [*(pattern.sub(real, word) for word in ours), *theirs]


def _joined(groups: list[tuple[str, list[str]]]) -> list[str]:
    """Return flags as words; a value that begins with a dash stays with its flag."""
    command: list[str] = []
    for flag, values in groups:
        is_dashed = len(values) == 1 and values[0].startswith("-")
        command += [f"{flag}={values[0]}"] if is_dashed else [flag, *values]
    return command


def environment(pack: dict[str, Any], here: Path) -> dict[str, str]:
    """Return the variables of the runtime: the packed code first, and nothing from the network."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", **pack["env"]}
    if (here / "lib").is_dir():
        paths = [str(here / "lib"), env.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["PYTHONSAFEPATH"] = "1"  # whatever lies in the directory of the caller
    return env


def _split(argv: list[str]) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    """Return the options of this script, and the flags of the runtime with their values."""
    own: dict[str, str] = {}
    flags: list[tuple[str, list[str]]] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--dry-run", "--no-check"):
            own[name[2:]] = "yes"
        elif name in ("--output-dir", "--examples-dir"):
            if not equals and not rest:
                raise Refused(f"{name} needs a directory")
            own[name[2:]] = value if equals else rest.pop(0)
        elif word.startswith("--"):
            flags.append((name, [value] if equals else []))
        elif flags:
            flags[-1][1].append(word)
        else:
            raise Refused(f"{word!r} is no flag; see --help")
    return own, flags


def _read(here: Path) -> dict[str, Any]:
    try:
        document = json.loads((here / "pack.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused("pack.json is missing or damaged: unpack it again") from error
    if document.get("schema") != 1:
        raise Refused("a newer mmtrt wrote this pack")
    return dict(document)


def _name(flag: str) -> str:
    return flag.lstrip("-").replace("_", "-")


def _plain(version: str) -> str:
    return version.partition("+")[0]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _compute_capabilities() -> list[int]:
    """Return those of this machine's GPUs as 90 for 9.0; none where the driver does not tell."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [int(line.strip().replace(".", "")) for line in done.stdout.split() if line.strip()]


def _examples(chosen: str | None) -> str:
    place = chosen or os.environ.get("TRTLLM_EXAMPLES") or EXAMPLES
    if not Path(place).is_dir():
        raise Refused(
            f"TensorRT-LLM's example scripts are not at {place}: give --examples-dir, of the "
            "version that README.md names"
        )
    return str(Path(place).resolve())


def _print_answers(path: Path) -> None:
    """Print what the runtime wrote; some runtimes print it themselves."""
    if path.is_file():
        for request in json.loads(path.read_text(encoding="utf-8"))["requests"]:
            print(f"prompt: {request['prompt']}\nanswer: {request['text']}")  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
