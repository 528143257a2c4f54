"""What every test relies on, however it was started."""

from __future__ import annotations

import signal
import threading

from hypothesis import HealthCheck, settings

# A busy machine is slow, and a run fails for what was changed: the same examples every time.
# `--hypothesis-profile=default` looks for others.
settings.register_profile(
    "steady",
    settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]),
)
settings.load_profile("steady")

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and so
# do its children; tests send it.
is_main = threading.current_thread() is threading.main_thread()
if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
