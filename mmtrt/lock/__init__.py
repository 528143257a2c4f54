"""What recipes leave open and a build depends on: commits, digests, versions, in ``mmtrt.lock``.

``needs`` tells what one choice asks for, ``resolve`` finds what its moving names stand for,
``tables`` holds the answers as flat tables that all recipes share, ``lock_file`` keeps them,
``apply`` puts them into a plan and ``drift`` holds them against this machine.
"""
