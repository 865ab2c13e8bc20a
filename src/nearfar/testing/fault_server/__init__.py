"""A real server that plays the faults of model providers, to test graphs and routers against."""

from .script import Fault, FaultKind, Point, Reply, SeenRequest, Status, Step, StepByRule, ToolCall
from .server import FaultServer, UnexpectedRequestError

__all__ = [
    "Fault",
    "FaultKind",
    "FaultServer",
    "Point",
    "Reply",
    "SeenRequest",
    "Status",
    "Step",
    "StepByRule",
    "ToolCall",
    "UnexpectedRequestError",
]
