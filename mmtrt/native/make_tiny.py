"""Make a tiny random model with a real tokenizer and processor, to try a recipe on any computer.

Its answers mean nothing; its layout, its processor and every stage are those of the family. The
same seed and package versions give the same bytes. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from mmtrt.native.errors import report
from mmtrt.native.flags import add_directory, stage_parser
from mmtrt.native.progress import mebibytes, say
from mmtrt.native.tiny import MODELS, module_of


def make_tiny(family: str, output_dir: Path, seed: int) -> None:
    """Write a model directory as ``save_pretrained`` does.

    Args:
        family: a key of ``MODELS``.
        output_dir: made if needed.
        seed: of the weights; sizes, tokenizer and processor do not depend on it.

    Raises:
        NativeError: MDL210, if there is no such tiny model.
    """
    module = module_of(family)
    say(f"making a tiny {family} with random weights, seed {seed}")
    output_dir.mkdir(parents=True, exist_ok=True)
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        # Some modules draw numbers when they are built.
        torch.manual_seed(seed)
        import_module(module).make(output_dir, seed)
    size_bytes = sum(path.stat().st_size for path in output_dir.rglob("*") if path.is_file())
    say(f"wrote {mebibytes(size_bytes)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stage; see ``--help``."""
    parser = stage_parser("make_tiny", __doc__)
    parser.add_argument(
        "--family", required=True, metavar="NAME", help=f"one of: {', '.join(MODELS)}"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the weights")
    add_directory(parser, "--output-dir", "where the model is written")
    flags = parser.parse_args(argv)
    return report(lambda: make_tiny(flags.family, flags.output_dir, flags.seed))


if __name__ == "__main__":
    raise SystemExit(main())
