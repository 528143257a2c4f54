"""Past runs in a browser: the pages of :mod:`mmtrt.report.html`, served read-only."""
