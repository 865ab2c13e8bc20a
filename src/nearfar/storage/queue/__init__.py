"""The queue of runs among many machines: Procrastinate, and who is admitted to it.

The journal is what is true of a run; a job of the queue is only a ticket that says: begin it. A
ticket that is lost is written anew, and one too many finds nothing to do.
"""

from .admission import Admission
from .connector import open_app
from .fairness import Limit, Limits
from .tickets import TASK, queue_of

__all__ = ["TASK", "Admission", "Limit", "Limits", "open_app", "queue_of"]
