"""What was done to the outside world: which effects a thread has, and how each of them ended."""

from .outcomes import NOT_DONE, Done, NotDone
from .records import Call, Effect, Status
from .store import EffectStore

__all__ = ["NOT_DONE", "Call", "Done", "Effect", "EffectStore", "NotDone", "Status"]
