"""`sql` answers ordinary queries and lets nothing else through, on SQLite and on a real Postgres."""

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.errors import ConfigurationError, ToolFailedError, ToolTimeoutError
from nearfar.settings import Settings
from nearfar.tools import tool
from nearfar.tools._sql_check import check_query
from nearfar.tools._sql_engines import PostgresEngine, SqliteEngine
from nearfar.tools.limits import run_within
from tests.postgres import PostgresServer

DATA = Path(__file__).parent / "data"
SCHEMA = """
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(id), placed DATE, total REAL);
CREATE INDEX idx_orders ON orders(customer_id);
CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 20;
INSERT INTO customers VALUES (1,'Ana','Rome'),(2,'Bo','Oslo'),(3,'Cy',NULL),(4,'Di','Rome');
INSERT INTO orders VALUES (1,1,'2024-01-05',12.5),(2,1,'2024-02-07',30),(3,2,'2024-02-09',45.25);
"""
BOMBS = [
    "SELECT " + "(" * 500 + "1" + ")" * 500,
    "SELECT 1" + " UNION ALL SELECT 1" * 3000,
    "SELECT " + "1+" * 9000 + "1",
    "SELECT '" + "x" * 30_000 + "'",
    "SELECT " + ", ".join("1" * 6000),
    "SELECT " + "(SELECT " * 200 + "1" + ")" * 200,
    "SELECT * FROM " + "(" * 300 + "customers" + ")" * 300,
]


def load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def hostile(dialect: str, home: Path) -> list[tuple[str, str]]:
    kinds: dict[str, list[str]] = {**load(f"hostile_sql_{dialect}"), "bombs": BOMBS}
    return [
        (kind, text.replace("{home}", home.as_posix()))
        for kind, texts in kinds.items()
        for text in texts
    ]


def call(sql: BaseTool, query: str) -> ToolMessage:
    message = sql.invoke({"name": "sql", "args": {"query": query}, "id": "1", "type": "tool_call"})
    assert isinstance(message, ToolMessage)
    return message


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_corpora_are_large_enough(dialect: str) -> None:
    kinds = load(f"hostile_sql_{dialect}")
    assert min(len(texts) for texts in kinds.values()) >= 5
    assert len(hostile(dialect, Path())) >= 200
    assert len(load(f"ordinary_sql_{dialect}")) >= 200


class Checks:
    """What holds for each database; ``sql`` and ``state`` are the subclass's fixtures."""

    dialect: str

    def test_ordinary_queries_work(self, sql: BaseTool) -> None:
        texts = load(f"ordinary_sql_{self.dialect}")
        said = {text: call(sql, text) for text in texts}
        failed = {text: one.text for text, one in said.items() if one.status == "error"}
        assert len(failed) <= 0.02 * len(texts), failed

    def test_hostile_statements_are_refused_and_change_nothing(
        self, sql: BaseTool, state: Any, tmp_path: Path
    ) -> None:
        before, begun = state(), time.monotonic()
        passed = []
        for kind, text in hostile(self.dialect, tmp_path):
            message = call(sql, text)
            if message.status != "error":
                passed.append((kind, text, message.text[:200]))
            assert "root:x:" not in message.text
            assert " failed.\n" not in message.text, (text, message.text)
        assert passed == []
        assert state() == before
        assert not list(tmp_path.glob("evil*"))
        assert time.monotonic() - begun < 60

    def test_a_result_is_marked_and_limited(self, sql: BaseTool) -> None:
        message = call(sql, "SELECT name FROM customers ORDER BY id")
        assert message.text.startswith("<<<data ")
        assert "name\nAna\nBo\nCy\n" in message.text
        assert message.artifact["data"]["rows"] == [["Ana"], ["Bo"], ["Cy"], ["Di"]]
        many = " UNION ALL ".join(f"SELECT {n}" for n in range(60))
        text = call(sql, many).text
        assert "[... cut: more than 50 rows]" in text

    def test_an_empty_query_lists_the_tables(self, sql: BaseTool) -> None:
        text = call(sql, "").text
        assert "customers" in text
        assert "placed" in text

    def test_an_error_of_the_database_is_quoted(self, sql: BaseTool) -> None:
        text = call(sql, "SELECT nothing FROM customers").text
        assert text.startswith("The database refused the query.")
        assert "<<<data " in text


class TestSqlite(Checks):
    dialect = "sqlite"

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "shop #1%20.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA)
        return path

    @pytest.fixture
    def sql(self, path: Path) -> BaseTool:
        from urllib.parse import quote

        url = f"sqlite:///{quote(path.as_posix())}"
        return tool("sql", Settings(), databases={"shop": url}, max_rows=50, timeout_s=1)

    @pytest.fixture
    def state(self, path: Path) -> Any:
        def look() -> Any:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            return content, sorted(one.name for one in path.parent.iterdir())

        return look

    def test_the_database_itself_refuses_too(self, path: Path, state: Any, tmp_path: Path) -> None:
        """Without the check of the text nothing is changed either."""
        before = state()
        engine = SqliteEngine(path)
        for _kind, text in hostile("sqlite", tmp_path):
            try:
                run_within(lambda text=text: engine.query(text, 5), 0.5, "sql")  # type: ignore[misc]
            except (ToolFailedError, ToolTimeoutError, UnicodeError, ValueError):
                continue
        assert state() == before

    def test_virtual_tables_can_be_read_and_not_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(
                "CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('hi there');"
                "CREATE VIRTUAL TABLE areas USING rtree(id, low, high); INSERT INTO areas VALUES (1, 0, 5);"
            )
        engine = SqliteEngine(path)
        found = engine.query("SELECT body, bm25(notes) < 0 FROM notes WHERE notes MATCH 'hi'", 5)
        assert found.rows == [("hi there", 1)]
        assert engine.query("SELECT id FROM areas WHERE low < 3", 5).rows == [(1,)]
        assert engine.query("SELECT value FROM json_each('[7]')", 5).rows == [(7,)]
        for text in ("INSERT INTO notes(notes) VALUES ('optimize')", "DROP TABLE areas"):
            with pytest.raises(ToolFailedError):
                engine.query(text, 5)

    def test_a_database_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        sql = tool("sql", Settings(), databases={"x": f"sqlite:///{tmp_path}/no.db"})
        assert "cannot be opened" in call(sql, "SELECT 1").text
        assert not (tmp_path / "no.db").exists()


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> str:
    import psycopg

    url = postgres_server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON customers, orders, big_orders TO reader")
    return url


class TestPostgres(Checks):
    dialect = "postgres"

    @pytest.fixture
    def sql(self, server: str) -> BaseTool:
        """As the superuser, so that only what is ours stands in the way."""
        return tool("sql", Settings(), databases={"shop": server}, max_rows=50, timeout_s=1)

    @pytest.fixture
    def state(self, server: str) -> Any:
        import psycopg

        def look() -> Any:
            with psycopg.connect(server) as connection:
                return [
                    connection.execute(text.encode()).fetchall()
                    for text in (
                        "SELECT * FROM customers ORDER BY id",
                        "SELECT * FROM orders ORDER BY id",
                        "SELECT oid::bigint, relname FROM pg_class WHERE relnamespace = 2200 ORDER BY 1",
                        "SELECT rolname, rolsuper FROM pg_authid ORDER BY 1",
                        "SELECT datname FROM pg_database ORDER BY 1",
                        "SELECT count(*) FROM pg_proc",
                        "SELECT count(*) FROM pg_largeobject_metadata",
                        "SELECT name, setting FROM pg_file_settings ORDER BY 1",
                    )
                ]

        return look

    def test_the_database_itself_refuses_too(self, server: str, state: Any, tmp_path: Path) -> None:
        """Without the check of the text, a role with few rights changes nothing either."""
        before = state()
        engine = PostgresEngine(server.replace("postgres:@", "reader:@"))
        for kind, text in hostile("postgres", tmp_path):
            if kind in ("bombs", "broken", "large values", "endless", "sessions and locks"):
                continue  # what only costs time and memory is refused by the check alone
            try:
                run_within(lambda text=text: engine.query(text, 5), 0.5, "sql")  # type: ignore[misc]
            except (ToolFailedError, ToolTimeoutError, UnicodeError, ValueError):
                continue
        assert state() == before
        assert not list(tmp_path.glob("evil*"))

    def test_a_second_statement_is_refused_by_the_protocol(self, server: str) -> None:
        engine = PostgresEngine(server)
        with pytest.raises(ToolFailedError) as caught:
            engine.query("SELECT 1; SELECT 2", 5)
        assert "cannot insert multiple commands" in caught.value.data["quoted"]

    def test_the_transaction_is_read_only(self, server: str) -> None:
        with pytest.raises(ToolFailedError) as caught:
            PostgresEngine(server).query("DELETE FROM orders", 5)
        assert "read-only transaction" in caught.value.data["quoted"]


def test_other_databases_go_through_sqlalchemy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.tools import _sql_engines

    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    engine = _sql_engines.OtherEngine(f"sqlite:///{path}", "sqlite")
    rows = engine.query("SELECT name FROM customers ORDER BY id", 2)
    assert (rows.columns, rows.rows, rows.more) == (["name"], [("Ana",), ("Bo",)], True)
    with pytest.raises(ToolFailedError):
        engine.query("SELECT nothing", 2)
    assert _sql_engines.engine_for("mysql+pymysql://a:b@c/d", ()).dialect == "mysql"
    assert "hush" not in repr(_sql_engines.engine_for("mysql+pymysql://a:hush@c/d", ()))


def test_functions_can_be_allowed() -> None:
    assert check_query("SELECT shout(name) FROM t", "sqlite", ["Shout"])


def test_without_databases_there_is_no_tool() -> None:
    with pytest.raises(ConfigurationError, match="no database"):
        tool("sql", Settings())


def test_a_rule_sees_the_database_that_was_left_out(tmp_path: Path) -> None:
    rule = {"tool": "sql", "arguments": {"database": "pay"}, "permission": "deny"}
    settings = Settings.model_validate({"tools": {"permissions": [rule]}})
    sql = tool("sql", settings, databases={"pay": f"sqlite:///{tmp_path}/x.db"})
    assert "not allowed" in call(sql, "SELECT 1").text


class _Standard:
    @pytest.fixture(autouse=True)
    def _database(self, tmp_path: Path) -> None:
        self.path = tmp_path / "x.db"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(SCHEMA)

    @property
    def tool_constructor(self) -> Any:
        return tool("sql", Settings(), databases={"x": f"sqlite:///{self.path}"})

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "SELECT 1"}


class TestUnit(_Standard, ToolsUnitTests):
    """LangChain's own suite."""


class TestIntegration(_Standard, ToolsIntegrationTests):
    """LangChain's own suite."""
