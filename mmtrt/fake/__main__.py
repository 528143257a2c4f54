"""``python -m mmtrt.fake TOOL ARGS...``."""

from __future__ import annotations

import sys

from mmtrt.fake.tools import main

if __name__ == "__main__":
    sys.exit(main())
