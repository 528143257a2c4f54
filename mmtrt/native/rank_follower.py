"""A rank other than the first: does what rank 0 does, until that ends. Started by the stages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmtrt.native.errors import report
from mmtrt.native.flags import add_directory, stage_parser
from mmtrt.native.rank_launch import as_rank


def follow(llm_dir: Path) -> None:
    """Take part in the answers of rank 0.

    Raises:
        NativeError: ART203, if the rank's files cannot be used here.
    """
    from mmtrt.native.aot_session import AotSession

    AotSession(llm_dir).follow()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until rank 0 has ended; see ``--help``."""
    parser = stage_parser("rank_follower", __doc__)
    add_directory(parser, "--llm-dir", "the language model's engine")
    flags: argparse.Namespace = parser.parse_args(argv)
    return as_rank(lambda: report(lambda: follow(flags.llm_dir)))


if __name__ == "__main__":
    raise SystemExit(main())
