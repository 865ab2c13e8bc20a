"""Personal data in text: how much is found, how often wrongly, and how long it takes."""

import logging
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfar.errors import ConfigurationError
from nearfar.llm.screening import FINDERS, Detector
from nearfar.settings import PrivacySettings

DATA = Path(__file__).parents[2] / "data" / "privacy"
NAMES = ["Anna-Maria Schmidt", "José Okafor", "Projekt Nordlicht", "Project Nordlicht", "王小明"]
ALL = PrivacySettings(keep_near=["pii", "secret"], names=NAMES)
EVERYTHING = Detector(ALL)
LEAST = {
    "email": 0.96,
    "phone": 0.95,
    "iban": 1.0,
    "credit_card": 0.97,
    "national_id": 0.93,
    "ip": 1.0,
    "name": 1.0,
    "secret": 0.94,
}
"""The share of lines of a kind that is found, at least; what is missed is mostly spelled in words."""
MOST_FALSE = 0.01
PROSE = ("The kiln has reached 900 degrees, and the red lamp is lit. " * 40)[:2000]


def personal() -> list[tuple[str, str]]:
    """Kind and text; a ``~`` keeps other programs from taking what looks like a key for one."""
    lines = (DATA / "personal.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    return [(kind, text.replace("~", "").replace("\\n", "\n")) for kind, text in pairs]


def harmless() -> list[str]:
    return (DATA / "harmless.txt").read_text(encoding="utf-8").splitlines()


class TestMeasured:
    def test_of_each_kind_most_is_found(self) -> None:
        there, found = Counter[str](), Counter[str]()
        for kind, text in personal():
            there[kind] += 1
            found[kind] += kind in EVERYTHING.find(text)
        assert sum(there.values()) >= 300
        shares = {kind: found[kind] / there[kind] for kind in there}
        assert shares.keys() == LEAST.keys()
        assert {kind: share for kind, share in shares.items() if share < LEAST[kind]} == {}

    def test_little_is_found_where_there_is_nothing(self) -> None:
        lines = harmless()
        false = [line for line in lines if EVERYTHING.find(line)]
        assert len(lines) >= 300
        assert len(false) <= MOST_FALSE * len(lines), false

    def test_a_line_among_others_is_found_as_well(self) -> None:
        """What stands before and behind does not hide it: a document of harmless lines around each."""
        before, behind = "\n".join(harmless()[:40]), "\n".join(harmless()[40:80])
        quiet = EVERYTHING.find(f"{before}\n{behind}")
        lost = [
            (kind, text)
            for kind, text in personal()[::3]
            if kind in EVERYTHING.find(text)
            and EVERYTHING.find(f"{before}\n{text}\n{behind}").get(kind, 0) <= quiet.get(kind, 0)
        ]
        assert lost == []


class TestTime:
    SEEDS = (
        *("a", "1", "1 ", "@", "a@", "a@a.", "://a:", "eyJ-", "4111 ", "4 1 1 1 ", "+4 ", "00 "),
        *("DE89 ", "0 1", "a at ", "a (at) b dot ", "password: 1", "\u0301", "1.1.1.", "::1 "),
        *("Bearer ", "call me 1", "passport ", "a b ", "\uff11", "anna maria ", "-----BEGIN "),
    )

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_grows_with_the_length_and_no_faster(self, seed: str) -> None:
        def seconds(length: int) -> float:
            text = (seed * length)[:length]
            times = []
            for _ in range(2):
                start = time.process_time()
                EVERYTHING.find(text)
                times.append(time.process_time() - start)
            return min(times)

        short, long = seconds(10_000), seconds(80_000)
        assert long < max(24 * short, 0.2)  # eight times the length; three times for chance

    def test_a_million_characters_take_seconds_at_most(self) -> None:
        text = "4 1 1 1 " * 125_000
        start = time.process_time()
        EVERYTHING.find(text)
        assert time.process_time() - start < 12

    def test_a_prompt_takes_well_under_a_millisecond(self) -> None:
        EVERYTHING.find(PROSE)
        times = []
        for _ in range(50):
            start = time.process_time()
            EVERYTHING.find(PROSE)
            times.append(time.process_time() - start)
        assert min(times) < 0.001

    @given(st.text(st.sampled_from("01234 -+.@:/()aDEs\u200b\u0301\n\uff11\xe9"), max_size=300))
    def test_no_text_makes_it_fail(self, text: str) -> None:
        assert "detector failed" not in EVERYTHING.find(text)


class TestSettings:
    def test_only_the_kinds_that_are_asked_for_count(self) -> None:
        detector = Detector(PrivacySettings(keep_near=["email"]))
        assert detector.find("anna@example.com, 4111 1111 1111 1111") == {"email": 1}

    def test_pii_is_every_kind_but_secrets(self) -> None:
        assert set(PrivacySettings(keep_near=["pii"]).kinds) == set(FINDERS) - {"secret"}

    def test_patterns_of_the_users_own_see_the_text_as_it_is_and_in_plain_characters(self) -> None:
        detector = Detector(PrivacySettings(patterns={"staff": r"\bE-\d{6}\b", "place": "Köln"}))
        wide = "".join(chr(ord(c) + 0xFEE0) for c in "E-123456")
        assert detector.find(f"E-123456 and {wide}") == {"staff": 2}
        assert detector.find("in Köln") == {"place": 1}

    def test_detectors_of_the_users_own_are_asked(self) -> None:
        detector = Detector(PrivacySettings(detectors=[f"{__name__}:counts_kilns"]))
        assert detector.find("kiln kiln") == {"kiln": 2}
        assert detector.find("oven") == {}

    def test_one_that_raises_counts_as_found_and_its_words_are_not_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        detector = Detector(PrivacySettings(detectors=[f"{__name__}:repeats_the_text"]))
        with caplog.at_level(logging.WARNING):
            assert detector.find("my diary") == {"detector failed": 1}
        assert "ValueError" in caplog.text
        assert "diary" not in caplog.text

    def test_one_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no\.such:thing"):
            Detector(PrivacySettings(detectors=["no.such:thing"]))


def counts_kilns(text: str) -> dict[str, int]:
    return {"kiln": text.count("kiln")}


def repeats_the_text(text: str) -> dict[str, int]:
    raise ValueError(text)
