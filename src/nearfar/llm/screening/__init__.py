"""What is in a request: personal data that must stay near, and content that must go nowhere."""

from .personal import FINDERS, Detector, told
from .screen import Finding, Screen
from .unsafe import RULES, Rules

__all__ = ["FINDERS", "RULES", "Detector", "Finding", "Rules", "Screen", "told"]
