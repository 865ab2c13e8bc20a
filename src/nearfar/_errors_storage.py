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


class CheckpointDataError(StorageError):
    """A row of a checkpoint cannot be read: it is damaged, or of a format that is not read."""

    code = "NF-406"
    default_remedy = "Put a backup of the database in its place, or drop the thread."


class CheckpointTypeError(CheckpointDataError):
    """A state holds a class that checkpoints may not hold; data: ``type``."""

    code = "NF-407"
    default_remedy = "Name the class under storage.types, or keep a plain value in the state."


class EncryptionError(CheckpointDataError):
    """A row of a checkpoint does not fit the encryption that is configured."""

    code = "NF-408"
    default_remedy = "Configure under storage.encryption the key that the rows were written with."
