"""The journal of runs: what was accepted, how far it is, and who works on it."""

from nearfar.settings import Settings
from nearfar.storage.database import database_path

from .leases import Fence
from .records import PRIORITIES, Finish, NewRun, Record
from .sql import ENDED, Candidate, Claim
from .sqlite import SqliteJournal, SqlitePulse

__all__ = [
    "ENDED",
    "PRIORITIES",
    "Candidate",
    "Claim",
    "Fence",
    "Finish",
    "NewRun",
    "Record",
    "SqliteJournal",
    "SqlitePulse",
    "open_journal",
]


def open_journal(settings: Settings) -> SqliteJournal:
    """The journal of ``storage.url``; open for the length of its ``async with``."""
    return SqliteJournal(database_path(settings), lease_s=settings.runs.lease_s)
