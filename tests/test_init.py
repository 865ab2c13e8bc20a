"""The public names, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nearfar

HEAVY = [
    "langchain_core",
    "langchain_openai",
    "langchain_anthropic",
    "anthropic",
    "openai",
    "onnxruntime",
    "onnxruntime_genai",
    "faiss",
    "langgraph",
    "transformers",
    "pydantic",
    "numpy",
    "rich",
    "typer",
    "structlog",
]


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(out.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import nearfar").isdisjoint(HEAVY)


def test_loading_settings_loads_no_model_library() -> None:
    loaded = loaded_after("import nearfar; nearfar.load_settings()")
    assert loaded.isdisjoint({*HEAVY} - {"pydantic"})


@pytest.mark.parametrize("name", nearfar.__all__)
def test_each_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(nearfar, name) is not None
    assert name in dir(nearfar)


def test_the_list_of_names_is_a_literal_of_at_most_thirty() -> None:
    module = ast.parse(Path(nearfar.__file__).read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__all__"
    )
    names = ast.literal_eval(value)
    assert names == nearfar.__all__ == sorted(names)
    assert len(names) <= 30


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'chatmodel'"):
        nearfar.chatmodel  # noqa: B018  # what is tested
