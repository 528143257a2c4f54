"""Stages that no toolchain owns, each a process: ``python -m mmtrt.tasks.<stage> FLAGS``.

They need the core dependencies only, never torch, and write nothing outside the directory they are
given (``download`` also fills the model hub's own cache). Nothing else in ``mmtrt`` imports them.
"""
