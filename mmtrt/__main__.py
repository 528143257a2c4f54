"""``python -m mmtrt`` and the ``mmtrt`` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; return its exit code."""
    if sys.argv[1:] == ["--version"]:
        # Before anything else is imported: scripts ask this often.
        from mmtrt import __version__

        sys.stdout.write(f"mmtrt {__version__}\n")
        return 0
    from mmtrt.cli import dispatch

    return dispatch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
