"""Errors of files and databases."""

from ._errors_base import NearfarError


class StorageError(NearfarError):
    """Something about files or databases under the home folder."""

    code = "NF-400"


class DiskFullError(StorageError):
    """No space is left; what was there before is unchanged. data: ``path``."""

    code = "NF-401"
    default_remedy = "Free some space, or move NEARFAR_HOME to a larger disk."


class DatabaseError(StorageError):
    """The database could not be opened or written; data: ``path``."""

    code = "NF-402"


class SchemaVersionError(StorageError):
    """The database was written by a newer Nearfar; data: ``found``, ``known``."""

    code = "NF-403"
    default_remedy = "Use the newer Nearfar, or another NEARFAR_HOME."


class LockedError(StorageError):
    """Another program holds the lock; data: ``path``."""

    code = "NF-404"
    default_remedy = "Wait until the other program is done."
