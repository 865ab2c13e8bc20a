"""The command line's frame: help, errors, exit codes, streams."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated

import pytest
import typer

from nearfar import __version__
from nearfar.cli import context, main, output
from nearfar.errors import ConfigurationError, ModelNotFoundError
from tests.conftest import Cli

SPENT = """
import resource, runpy, sys
sys.argv = ["nearfar", *sys.argv[1:]]
try:
    runpy.run_module("nearfar.cli.main", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, file=sys.stderr)
"""


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """A command `nearfar probe` that a test fills."""
    app = typer.Typer(add_completion=False)
    module = types.ModuleType("nearfar_probe")
    module.app = app  # type: ignore[attr-defined]  # as command modules have it
    monkeypatch.setitem(sys.modules, "nearfar_probe", module)
    monkeypatch.setitem(main.COMMANDS, "probe", ("nearfar_probe", "A test's own."))
    return app


class TestHelp:
    @pytest.mark.parametrize("args", [("--help",), ("-h",), ("--json", "--help")])
    def test_it_lists_every_command(
        self, capsys: pytest.CaptureFixture[str], args: tuple[str]
    ) -> None:
        assert main.main(args) == 0
        out = capsys.readouterr().out
        for name, (_, text) in main.COMMANDS.items():
            assert f"  {name} " in out
            assert text in out

    def test_no_command_is_a_usage_error_that_shows_it(self, cli: Cli) -> None:
        rc, out, err = cli()
        assert (rc, out) == (2, "")
        assert err.startswith("Usage: nearfar")

    @pytest.mark.parametrize("option", ["--version", "-V"])
    def test_the_version(self, cli: Cli, option: str) -> None:
        assert tuple(cli(option)) == (0, f"nearfar {__version__}\n", "")

    @pytest.mark.skipif(os.name == "nt", reason="measures with getrusage")
    @pytest.mark.parametrize("option", ["--help", "--version"])
    def test_it_costs_under_0_3_seconds_of_cpu(self, option: str) -> None:
        command = [sys.executable, "-c", SPENT, option]
        spent = [
            float(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
            for _ in range(3)
        ]
        assert min(spent) < 0.3

    @pytest.mark.parametrize("name", main.COMMANDS)
    def test_every_command_of_the_table_has_help(
        self, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        assert main.main([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"nearfar {name}" in out
        assert "completion" not in out


class TestErrors:
    def test_an_unknown_command_names_the_nearest(self, cli: Cli) -> None:
        rc, out, err = cli("indx")
        assert (rc, out) == (2, "")
        assert "There is no command 'indx'. Did you mean 'index'?" in err

    @pytest.mark.parametrize(
        "args",
        [
            ("ask", "--json"),
            ("--json", "nonsense"),
            ("config", "show", "--json", "--wrong"),
            ("config", "nonsense", "--json"),
            ("--log-level", "loud", "config", "show", "--json"),
            ("config", "show", "--json", "--config"),
            ("--wrong", "config", "show", "--json"),
        ],
    )
    def test_a_usage_error_with_json_is_the_error_object(self, cli: Cli, args: tuple[str]) -> None:
        result = cli(*args)
        assert result.rc == 2
        error = result.json["error"]
        assert error["code"] == "NF-002"
        assert set(error) == {"code", "message", "remedy", "data"}
        assert result.err == ""

    def test_one_readable_block(
        self, capsys: pytest.CaptureFixture[str], probe: typer.Typer
    ) -> None:
        @probe.command()
        def fail() -> None:
            raise ModelNotFoundError("There is no model 'x'.", data={"name": "x"})

        assert main.main(["probe"]) == 2
        assert capsys.readouterr().err.splitlines() == [
            "Error NF-201: There is no model 'x'.",
            f"  What to do: {ModelNotFoundError.default_remedy}",
            "  More: docs/troubleshooting.md#nf-201",
        ]

    def test_secrets_in_an_error_are_masked(
        self, capsys: pytest.CaptureFixture[str], probe: typer.Typer
    ) -> None:
        secret = "sk-abcdefghijklmnopqrstuvwx"

        @probe.command()
        def fail(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
            raise ConfigurationError(f"wrong: {secret}", data={"x": [secret]})

        main.main(["probe"])
        main.main(["probe", "--json"])
        shown = capsys.readouterr()
        assert secret not in shown.out + shown.err

    def test_an_unexpected_error_is_internal_and_shows_no_traceback(
        self,
        capsys: pytest.CaptureFixture[str],
        probe: typer.Typer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        @probe.command()
        def fail() -> None:
            raise ZeroDivisionError("by nought")

        assert main.main(["probe"]) == 1
        err = capsys.readouterr().err
        assert "Error NF-001" in err
        assert "ZeroDivisionError: by nought" in err
        assert "Traceback" not in err
        monkeypatch.setenv("NEARFAR_DEBUG", "1")
        main.main(["probe"])
        assert "Traceback" in capsys.readouterr().err

    def test_a_commands_own_exit_code_is_kept(self, probe: typer.Typer) -> None:
        @probe.command()
        def wait() -> None:
            raise typer.Exit(3)

        assert main.main(["probe"]) == 3


class TestStopping:
    def test_ctrl_c_is_130(self, capsys: pytest.CaptureFixture[str], probe: typer.Typer) -> None:
        @probe.command()
        def stop() -> None:
            raise KeyboardInterrupt

        assert main.main(["probe"]) == 130
        assert capsys.readouterr() == ("", "Stopped.\n")

    @pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one child")
    def test_a_signal_stops_a_command_that_waits(self, tmp_path: Path) -> None:
        (tmp_path / "waiting.py").write_text(
            "import asyncio, sys, typer\n"
            "from nearfar.cli import main\n"
            "from nearfar.cli.output import run_async\n"
            "app = typer.Typer()\n"
            "async def work():\n"
            "    print('ready', flush=True)\n"
            "    await asyncio.Event().wait()\n"
            "@app.command()\n"
            "def wait() -> None:\n"
            "    run_async(work())\n"
            "main.COMMANDS['wait'] = ('waiting', '')\n"
            "if __name__ == '__main__':\n"
            "    sys.exit(main.main(['wait']))\n"
        )
        with subprocess.Popen(
            [sys.executable, "waiting.py"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == "Stopped.\n"
            assert process.wait(timeout=30) == 130


def run_with_stdout(target: int, *args: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "nearfar.cli.main", *args]
    return subprocess.run(command, stdout=target, stderr=subprocess.PIPE, check=False, timeout=60)


class TestStreams:
    def test_a_reader_that_went_away_ends_it_quietly(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = run_with_stdout(writing, "config", "schema")
        finally:
            os.close(writing)
        assert done.returncode == 1
        assert done.stderr == b""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
    @pytest.mark.parametrize("args", [("config", "schema"), ("config", "schema", "--json")])
    def test_a_full_disk_behind_the_output_is_told(self, args: tuple[str]) -> None:
        with Path("/dev/full").open("wb") as full:
            done = run_with_stdout(full.fileno(), *args)
        assert done.returncode == 1
        assert b"Error NF-401" in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.skipif(os.name == "nt", reason="the shell's `>&-` is not known there")
    def test_a_closed_output_does_no_harm(self) -> None:
        command = f'"{sys.executable}" -m nearfar.cli.main --version >&-'
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
    def test_any_encoding_can_carry_any_text(self, cli: Cli, tmp_path: Path, encoding: str) -> None:
        (tmp_path / "nearfar.yaml").write_text("workflows: {жук: 'a.b:c'}", encoding="utf-8")
        env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        result = cli("config", "show", "--json", env=env)
        assert result.rc == 0
        assert result.json["settings"]["workflows"] == {"жук": "a.b:c"}
        assert cli("config", "show", env=env).rc == 0

    def test_a_file_name_that_is_no_text_can_be_shown(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        buffer = io.BytesIO()
        stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")
        monkeypatch.setattr(sys, "stdout", stream)
        output.emit_json({"path": Path("a\udcffb")})
        stream.flush()
        assert json.loads(buffer.getvalue()) == {"path": "a\udcffb"}

    def test_colours_need_a_terminal_and_no_no_color(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = ModelNotFoundError("x")
        assert "\033" not in output.error_block(error)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert ("\033" in output.error_block(error)) == (os.name != "nt")
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\033" not in output.error_block(error)


class TestOptionsOfAllCommands:
    @pytest.mark.parametrize(
        "args",
        [
            ("--config", "X", "config", "show", "--json"),
            ("config", "show", "--json", "--config", "X"),
            ("config", "--config=X", "show", "--json"),
        ],
    )
    def test_config_may_stand_before_or_after_the_command(
        self, cli: Cli, tmp_path: Path, args: tuple[str]
    ) -> None:
        file = tmp_path / "other.yaml"
        file.write_text("local: {threads: 3}", encoding="utf-8")
        result = cli(*(arg.replace("X", str(file)) for arg in args))
        assert result.json["settings"]["local"]["threads"] == 3

    def test_after_two_dashes_all_belongs_to_the_command(self, probe: typer.Typer) -> None:
        seen: list[str] = []

        @probe.command()
        def take(words: list[str]) -> None:
            seen.extend(words)

        assert main.main(["probe", "--", "--config", "--json"]) == 0
        assert seen == ["--config", "--json"]

    def test_the_log_level_wins_over_the_settings(self, probe: typer.Typer, tmp_path: Path) -> None:
        import logging

        file = tmp_path / "x.yaml"
        file.write_text("log: {level: error}", encoding="utf-8")
        seen: list[int] = []

        @probe.command()
        def look() -> None:
            context.settings()
            seen.append(logging.getLogger("nearfar").level)

        main.main(["probe", "--config", str(file)])
        main.main(["probe", "--config", str(file), "--log-level", "DEBUG"])
        assert seen == [logging.ERROR, logging.DEBUG]


def test_json_refuses_what_it_cannot_say() -> None:
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(ValueError, match="JSON"):
        output.emit_json({"x": float("nan")})
