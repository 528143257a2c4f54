"""The packages that write provenance; they come with an extra of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmtrt.errors import HostError


@contextmanager
def importing(distribution: str) -> Iterator[None]:
    """Say which package is missing instead of letting an import fail.

    Raises:
        HostError: ENV140.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise HostError(
            f"the Python package {distribution} is not installed",
            code="ENV140",
            why=f"{error.name} is needed to write this format",
            fix="pip install 'mmtrt[provenance]'",
        ) from error
