"""Write a directory that looks like TensorRT-LLM's container, for scripts that expect one.

``<dir>/examples/...`` holds a script at the path of every example script that has a stand-in,
``<dir>/bin`` the executables ``trtllm-build``, ``trtllm-serve`` and ``mpirun``. Each hands its
words to ``python -m mmtrt.fake``; put ``bin`` in front of ``PATH``.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mmtrt.fake.tools import TOOLS

EXECUTABLES = ("trtllm-build", "trtllm-serve", "mpirun")
SOURCE = Path(__file__).parent.parent.parent

SCRIPT = '''\
"""Stand-in of TensorRT-LLM's examples/{tool}: see mmtrt.fake."""

import os
import sys

os.environ["PYTHONPATH"] = os.pathsep.join(
    [{source!r}, *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.execv({python!r}, [{python!r}, "-m", "mmtrt.fake", {tool!r}, *sys.argv[1:]])
'''

EXECUTABLE = """\
#!/bin/sh
# Stand-in of {tool}: see mmtrt.fake.
PYTHONPATH={source}${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec {python} -m mmtrt.fake {tool} "$@"
"""


def write(directory: Path) -> Path:
    """Write the stand-in of a container; return its directory of examples."""
    examples, executables = directory / "examples", directory / "bin"
    names = {"source": str(SOURCE), "python": sys.executable}
    for tool in TOOLS:
        if tool.endswith(".py"):
            path = examples / tool
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SCRIPT.format(tool=tool, **names), encoding="utf-8")
    executables.mkdir(parents=True, exist_ok=True)
    quoted = {name: shlex.quote(value) for name, value in names.items()}
    for tool in EXECUTABLES:
        path = executables / tool
        path.write_text(EXECUTABLE.format(tool=tool, **quoted), encoding="utf-8")
        path.chmod(0o755)
    return examples
