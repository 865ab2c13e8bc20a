"""The error tree: unique codes, drawn as it is, JSON in and out."""

import json
import pickle
import re
from collections.abc import Iterator

import pytest

from nearfar import errors
from nearfar.errors import ContextWindowError, NearfarError


def tree(kind: type[NearfarError] = NearfarError) -> Iterator[type[NearfarError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


KINDS = list(tree())


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    above: list[str] = []
    line_of = re.compile(r"^    ([│ ├└─]*)(\w+Error)\s+(?:code\s+exit|(NF-\d{3})\s+(\d))")
    for line in (errors.__doc__ or "").splitlines():
        match = line_of.match(line)
        if match:
            depth = len(match[1]) // 4
            above = [*above[:depth], match[2]]
            parent = above[depth - 1] if depth else None
            drawn[match[2]] = (parent, match[3], match[4])
    assert drawn.pop("NearfarError") == (None, None, None)
    real = {
        kind.__name__: (
            kind.__base__.__name__ if kind.__base__ else "",
            kind.code,
            str(kind.exit_code),
        )
        for kind in KINDS[1:]
    }
    assert drawn == real


def test_each_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"NF-\d{3}", code) for code in codes)


def test_a_code_starts_with_its_parents_digit() -> None:
    for kind in KINDS[1:]:
        assert kind.__base__ is not None
        if issubclass(kind.__base__, NearfarError) and kind.__base__ is not NearfarError:
            assert kind.code[:4] == kind.__base__.code[:4]


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_json_and_survives_the_way_between_processes(kind: type[NearfarError]) -> None:
    error = kind("what happened", data={"n": 1})
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(again) is kind
    assert again.to_dict() == error.to_dict() == json.loads(json.dumps(error.to_dict()))
    assert str(again) == "what happened"


def test_a_remedy_given_wins_over_the_classes_own() -> None:
    assert ContextWindowError("x").remedy == ContextWindowError.default_remedy
    assert ContextWindowError("x", remedy="y").remedy == "y"
