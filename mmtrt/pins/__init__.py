"""What a build depends on and recipes leave open: commits, versions, digests, in a lock file.

``describe`` tells what a recipe needs here, ``resolve`` finds what its moving names stand for, and
the result is an ``Entry``; ``LockFile`` keeps entries, ``Pins`` puts one into a plan, ``drift_of``
holds one against this machine.

For a package of one planned session: :func:`mmtrt.pins.resolve.entry_of` returns its entry,
:func:`mmtrt.pins.lock_file.lock_text` the text of a lock file with it. A run that used a lock has
the entry that it used in its record, as ``mmtrt.lock``.
"""
