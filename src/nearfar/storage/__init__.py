"""Files and databases under the home folder: SQLite connections, migrations, atomic writes, locks.

What is stored where is decided by the packages above; that a write is whole or not there, and that
a full disk or a damaged database is a typed error, is decided here.
"""

from .database import connect, database_path, transaction
from .files import atomic_write, file_lock, writing
from .migrations import Migration, migrate

__all__ = [
    "Migration",
    "atomic_write",
    "connect",
    "database_path",
    "file_lock",
    "migrate",
    "transaction",
    "writing",
]
