"""Measurements of mmtrt beside its peers: ``python -m benchmarks.all``.

Nothing here is collected by plain pytest, and no test of the suite measures time.
"""
