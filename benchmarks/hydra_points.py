"""Composes points as a sweep of Hydra's would: ``python -m benchmarks.hydra_points DIR COUNT``."""

from __future__ import annotations

import sys

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf


def main() -> int:
    """Compose and resolve one point after the other in one process; print nothing."""
    directory, count, *overrides = sys.argv[1:]
    with initialize_config_dir(directory, version_base=None):
        for batch in range(1, int(count) + 1):
            point = [*overrides, f"workload.batch_size={batch}"]
            OmegaConf.to_container(compose("config", point), resolve=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
