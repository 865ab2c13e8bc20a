"""`nearfar tools list`."""

from pathlib import Path

from nearfar.tools import names
from tests.conftest import Cli


def test_the_list_says_what_each_may_do_and_what_it_needs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nearfar.yaml").write_text(
        "tools: {files: {roots: [.]}, permissions: [{tool: calculator, permission: deny}]}"
    )
    done = cli("tools", "list", "--json")
    assert done.rc == 0, done.err
    rows = {row["name"]: row for row in done.json["tools"]}
    assert set(names()) <= set(rows) | {"http_api"}
    assert rows["calculator"]["permission"] == "deny"
    assert rows["files_write"]["permission"] == "ask"
    assert rows["files_read"]["limits"]["timeout_s"] == 30
    assert rows["sql"]["ready"] is False
    assert "tools.sql.databases" in rows["sql"]["problem"]
    done = cli("tools", "list")
    assert done.rc == 0
    assert "files_write   ask\n" in done.out
    assert "sql" in done.out
