"""Schedules: what is started at which times, and how far that is."""

from .records import MISFIRES, Schedule
from .table import ScheduleTable

__all__ = ["MISFIRES", "Schedule", "ScheduleTable"]
