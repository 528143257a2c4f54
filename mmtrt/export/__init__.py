"""A plan as a plain shell script: the same work, without mmtrt's executor, store and rules."""

from mmtrt.export.script import to_sh

__all__ = ["to_sh"]
