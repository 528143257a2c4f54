"""What each code of this package means: one sorted table, so that a number is given out once.

ART101 to ART109 belong to stage processes, ART120 to ART139 to the executor and to reports, ART2xx
to the native stages.
"""

from __future__ import annotations

from types import MappingProxyType

CODES = MappingProxyType(
    {
        "ART140": "a manifest was written by a newer mmtrt",
        "ART141": "a manifest is missing or garbled",
        "ART142": "an artifact holds nothing at the path that was asked for",
        "ART143": "a document cannot be written as canonical JSON",
        "ART144": "a kind, key or name is not one, or a key is not that of its document",
        "ART150": "the disk or the quota is full",
        "ART151": "a file would exceed the size limit of the process or file system",
        "ART152": "the file system is read-only",
        "ART153": "permission is missing",
        "ART154": "the operating system refused for another reason",
        "ART155": "the file system has no file locks",
        "ART160": "a symbolic link leads nowhere or in a circle",
        "ART161": "a symbolic link would break when the output moves into the store",
        "ART162": "a socket, pipe or device lies among the files",
        "ART163": "a file name is not UTF-8",
        "ART164": "a stage wrote no output",
        "ART165": "a file changed while it was read",
        "ART166": "a staging directory was published or abandoned already",
        "ART167": "an artifact is in use",
        "ART170": "a stored file is missing",
        "ART171": "a stored file has another size or time than recorded",
        "ART172": "a stored file has another content than recorded",
        "ART173": "the digest of a whole artifact is not that of its files",
        "ART174": "an artifact lies under a kind or key that is not its own",
        "ART175": "something lies in the store that no manifest lists",
        "ART176": "a dead process left a staging directory behind",
        "ART177": "a dead process left a lock file behind",
        "ART178": "a stored file cannot be read",
    }
)
