"""A state that declares a class of its own."""

from typing import TypedDict

from .test_serde import Point


class Typed(TypedDict):
    point: Point
