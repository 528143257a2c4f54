"""Composes a recipe as Hydra alone would: ``python -m benchmarks.plain_hydra DIR OVERRIDES...``."""

from __future__ import annotations

import sys

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf


def main() -> int:
    """Compose and resolve; print nothing."""
    directory, *overrides = sys.argv[1:]
    with initialize_config_dir(directory, version_base=None):
        OmegaConf.to_container(compose("config", overrides), resolve=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
