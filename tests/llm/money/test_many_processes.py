"""A budget holds against many processes, also when some of them are killed."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from nearfar.llm.money import Ledger, find_budget
from nearfar.settings import load_settings
from nearfar.testing.fault_server import FaultServer, Reply

CALLER = Path(__file__).with_name("caller.py")
AFFORDABLE = 50
SETTINGS = """\
models:
  lab: {{provider: openai-compatible, base_url: "{url}", model: m, api_key: none,
        price: {{input: 1, output: {output}}}}}
routers:
  default: {{candidates: [lab], budget: all, deadline_s: 240}}
budgets:
  all: {{limit_usd: {limit}, per: total}}
"""


def wait_until(condition: Callable[[], bool], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def run(
    folder: Path,
    home: Path,
    *,
    kills: int,
    rng: random.Random,
    output: int = 100,
    limit: tuple[str, ...] = ("5",),
) -> None:
    """4 programs with 50 callers each; some are killed when a number of calls was answered.

    Limits are such that a machine with a dozen other programs reaches none: where all go one by one,
    the last of 200 waits for 50 answers, each of which takes a loaded machine a second.
    """
    cost = (10 + 5 * output) / 1e6  # what the server says it used: 10 tokens in, 5 out
    with FaultServer(default=Reply(delay_s=0.05)) as server:
        text = SETTINGS.format(url=server.openai_url, output=output, limit=AFFORDABLE * cost)
        (folder / "nearfar.yaml").write_text(text)
        command = [sys.executable, str(CALLER), str(folder), "50", *limit]
        programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        try:
            for program in rng.sample(programs, kills):
                at = rng.randrange(1, AFFORDABLE - 5)
                wait_until(partial(reached, home, at, programs))
                program.kill()
            said = [program.communicate(timeout=270)[0].split() for program in programs]
        finally:
            for program in programs:
                program.kill()
                program.wait()
    settings = load_settings(folder / "nearfar.yaml")
    ledger = Ledger.open(settings)
    ledger.recover()
    standing = ledger.standing(find_budget("all", settings), "total")
    assert standing.spent_usd <= standing.limit_usd
    assert standing.reserved_usd == 0
    assert 45 <= answered(home) <= AFFORDABLE
    assert sum(words.count("answered") for words in said) <= answered(home)
    kept = [words for program, words in zip(programs, said, strict=True) if not program.returncode]
    assert all(len(words) == 50 for words in kept)
    ledger.close()


def answered(home: Path) -> int:
    path = home / "nearfar.db"
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM ledger_entries WHERE outcome = 'answered'"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # the table is not there yet
        return 0


def reached(home: Path, at: int, programs: list[subprocess.Popen[str]]) -> bool:
    """So many were answered, or all programs have ended."""
    return answered(home) >= at or all(program.poll() is not None for program in programs)


def test_200_callers_with_kills_answer_what_is_affordable_and_never_more(
    tmp_path: Path, home_folder: Path
) -> None:
    run(tmp_path, home_folder, kills=2, rng=random.Random(1))


@pytest.mark.long
def test_callers_without_a_limit_go_one_by_one_and_get_as_many_answers(
    tmp_path: Path, home_folder: Path
) -> None:
    """The worst case of each is far more than the whole budget; none may be cut to nothing."""
    run(tmp_path, home_folder, kills=0, rng=random.Random(1), output=3, limit=())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_moment_of_the_kills(tmp_path: Path, home_folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    run(tmp_path, home_folder, kills=rng.randrange(1, 4), rng=rng)
