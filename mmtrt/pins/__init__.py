"""What a build depends on and recipes leave open: commits, versions, digests, in a lock file.

``describe`` tells what a choice needs here, ``resolve`` finds what its moving names stand for, and
the result is an ``Entry``; ``cases`` puts entries of one recipe together and ``renew`` those of
many choices; ``LockFile`` keeps them, ``lookup`` finds the one for a recipe at hand, ``Pins`` puts
it into a plan, ``drift_of`` holds it against this machine.

For a package of one planned session: :func:`mmtrt.pins.resolve.entry_of` returns its entry,
:func:`mmtrt.pins.lock_text.lock_text` the text of a lock file with it. A run that used a lock has
the entry that it used in its record, as ``mmtrt.lock``; so has a sweep.
"""
