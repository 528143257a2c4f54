"""A virtual environment that lies over another Python's packages and may be moved.

It knows directories and files; which packages go in, and how, is the business of ``env``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from mmtrt.tasks import links

PATH_FILE = "zz_host_packages.pth"
"""Read after every other ``.pth`` of the overlay: files of a directory are read in order."""

TRAMPOLINE = b"""\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""
"""Starts the Python beside the script; to Python itself it is a string. uv does it likewise."""


@dataclass(frozen=True)
class Overlay:
    """An overlay, and where things are in it."""

    directory: Path
    """Absolute."""

    @property
    def python(self) -> Path:
        """The interpreter, a link to the one below all environments."""
        return self.directory / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where pure Python packages go."""
        scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
        base = str(self.directory)
        return Path(sysconfig.get_path("purelib", scheme, {"base": base, "platbase": base}))

    def create(self) -> None:
        """Write the environment without packages; no file in it names its own directory.

        Raises:
            TaskError: ART101, if something is there.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        for found in self.directory.iterdir():
            raise links.occupied(found)
        self.python.parent.mkdir()
        base = Path(getattr(sys, "_base_executable", None) or sys.executable)
        for name in ("python", "python3"):  # both to the end: a link to a link may not be moved
            links.symlink(base, self.python.with_name(name))
        settings = {
            "home": str(base.parent),
            "include-system-site-packages": "true" if _sees_system() else "false",
            "version": ".".join(map(str, sys.version_info[:3])),
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.directory / "pyvenv.cfg").write_text("".join(lines), encoding="utf-8")
        self.site_packages.mkdir(parents=True)
        (self.site_packages / PATH_FILE).write_text(_path_file(), encoding="ascii")

    def relocate_scripts(self) -> None:
        """Let the scripts beside the interpreter find it wherever the overlay is moved."""
        changed = {}
        for path in sorted(self.python.parent.iterdir()):
            if path.is_symlink() or not path.is_file():
                continue
            content = path.read_bytes()
            relocated = _relocated(content, os.fsencode(self.python.parent))
            if relocated != content:
                path.write_bytes(relocated)
                changed[path] = relocated
        if changed:
            for record in self.directory.glob("lib*/python*/site-packages/*.dist-info/RECORD"):
                _update_record(record, changed)


def _sees_system() -> bool:
    """Return whether the packages outside virtual environments are visible to this Python."""
    if sys.prefix == sys.base_prefix:
        return True
    settings = Path(sys.prefix, "pyvenv.cfg").read_text(encoding="utf-8")
    return re.search(r"(?im)^include-system-site-packages\s*=\s*true\s*$", settings) is not None


def _path_file() -> str:
    """Return lines that add the packages of this Python's own virtual environment, if it is one.

    ``addsitedir`` also reads the ``.pth`` files there, which a plain line would not: editable
    installs need them. No bytecode is written, as that would change an environment that is kept.
    """
    lines = ["import sys; sys.dont_write_bytecode = True"]
    if sys.prefix != sys.base_prefix:
        places = [each for each in site.getsitepackages([sys.prefix]) if Path(each).is_dir()]
        lines += [f"import site; site.addsitedir({each!a})" for each in places]
    return "\n".join(lines) + "\n"


def _relocated(content: bytes, directory: bytes) -> bytes:
    """Return a script with a trampoline for a first line that names a Python in ``directory``."""
    head, *rest = content.split(b"\n", 3)
    if head.startswith(b"#!" + directory):
        return TRAMPOLINE + b"\n".join(rest)
    # What installers write where the path is too long for the kernel or has a space.
    if head == b"#!/bin/sh" and len(rest) == 3 and rest[0].startswith(b"'''exec' "):
        return TRAMPOLINE + rest[2] if directory in rest[0] else content
    return content


def _update_record(record: Path, changed: dict[Path, bytes]) -> None:
    root = record.parents[1]
    rows = list(csv.reader(io.StringIO(record.read_text(encoding="utf-8"))))
    for row in rows:
        content = changed.get(Path(os.path.normpath(root / row[0]))) if row else None
        if content is not None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            row[1:] = [f"sha256={digest.decode()}", str(len(content))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    record.write_text(text.getvalue(), encoding="utf-8")
