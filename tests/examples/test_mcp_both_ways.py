"""The example starts a server and uses it."""

import importlib.util
from pathlib import Path

import pytest

from nearfar.tools._mcp_connection import connections

FILE = Path(__file__).parents[2] / "examples" / "mcp_both_ways.py"


def test_it_runs_offline(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("mcp_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.main()
    finally:
        connections.close()
    out = capsys.readouterr().out
    assert "mcp_sums_calculator" in out
    assert "\n12\n" in out
