"""The journal of runs: what was accepted, how far it is, and who works on it."""

from nearfar.settings import Settings
from nearfar.storage.database import database_path
from nearfar.storage.postgres import postgres_url

from .journal import Journal, Pulse
from .leases import Fence
from .records import PRIORITIES, Finish, NewRun, Record
from .sql import ENDED, Candidate, Claim, Dropped
from .sqlite import SqliteJournal

__all__ = [
    "ENDED",
    "PRIORITIES",
    "Candidate",
    "Claim",
    "Dropped",
    "Fence",
    "Finish",
    "Journal",
    "NewRun",
    "Pulse",
    "Record",
    "SqliteJournal",
    "open_journal",
]


def open_journal(settings: Settings) -> Journal:
    """The journal of ``storage.url``; open for the length of its ``async with``."""
    url = postgres_url(settings)
    if url is not None:
        from .postgres import PostgresJournal

        return PostgresJournal(url, lease_s=settings.runs.lease_s)
    return SqliteJournal(database_path(settings), lease_s=settings.runs.lease_s)
