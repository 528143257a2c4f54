"""The other tools, in a virtual environment of their own: ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("dvc", "snakemake")
DEFAULT = Path(".venv-peers")


@dataclass(frozen=True, slots=True)
class Peers:
    """A virtual environment that may hold them."""

    location: Path

    def tool(self, name: str) -> Path | None:
        """Return a peer's command, ``None`` if it is not installed."""
        path = self.location.absolute() / "bin" / name
        return path if path.exists() else None

    def version(self, name: str) -> str:
        """Return a peer's version, ``not installed`` if it is not."""
        script = f"from importlib.metadata import version; print(version({name!r}))"
        try:
            done = subprocess.run(
                [self.location.absolute() / "bin" / "python", "-c", script],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return "not installed"
        return done.stdout.strip()


def ensure(location: Path) -> Peers:
    """Install what is missing; what cannot be installed is left out with a line on stderr."""
    peers = Peers(location)
    missing = [name for name in PACKAGES if peers.tool(name) is None]
    if not missing:
        return peers
    print(f"installing {', '.join(missing)} into {location} (minutes)", file=sys.stderr)
    for name in missing:  # one by one: one that cannot be had must not keep the other away
        try:
            if not (location / "bin" / "python").exists():
                venv.create(location, with_pip=True)
            python = str(location.absolute() / "bin" / "python")
            subprocess.run([python, "-m", "pip", "install", "-q", name], check=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"cannot install {name}: {error}", file=sys.stderr)
    return peers


def main() -> int:
    """Install the peers; 1 if one is missing afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--into", type=Path, default=DEFAULT, metavar="DIR")
    peers = ensure(parser.parse_args().into)
    for name in PACKAGES:
        print(name, peers.version(name))
    return int(any(peers.tool(name) is None for name in PACKAGES))


if __name__ == "__main__":
    sys.exit(main())
