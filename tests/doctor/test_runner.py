"""Probes are isolated from each other."""

import threading
from collections.abc import Iterator

from nearfar.doctor.report import Check, Report
from nearfar.doctor.runner import Probe, run_probes
from nearfar.errors import ModelLoadError


def fine() -> Iterator[Check]:
    yield Check("fine", True, "all well")


def test_a_probe_that_raises_is_a_failed_check_and_the_rest_goes_on() -> None:
    def broken() -> Iterator[Check]:
        yield Check("first part", True, "worked")
        raise ValueError("no such thing\nsecond line")

    report = run_probes([Probe("broken", broken), Probe("fine", fine)])
    assert [(check.name, check.ok) for check in report.checks] == [
        ("first part", True),
        ("broken", False),
        ("fine", True),
    ]
    assert report.checks[1].detail == "ValueError: no such thing"
    assert "NEARFAR_DEBUG" in report.checks[1].remedy
    assert not report.ok


def test_one_of_our_errors_shows_its_code_and_remedy() -> None:
    def broken() -> Iterator[Check]:
        raise ModelLoadError("The file is cut short.", remedy="Copy it again.")

    (check,) = run_probes([Probe("model", broken)]).checks
    assert check == Check("model", False, "NF-202 The file is cut short.", "Copy it again.")


def test_a_probe_that_hangs_is_left_behind_and_says_nothing_more() -> None:
    release, ended = threading.Event(), threading.Event()

    def hanging() -> Iterator[Check]:
        release.wait()
        yield Check("late", True, "too late")
        ended.set()

    seen: list[Check] = []
    report = run_probes(
        [Probe("hanging", hanging, limit_s=0.05), Probe("fine", fine)], on_check=seen.append
    )
    release.set()
    assert ended.wait(10)
    assert [check.name for check in report.checks] == ["hanging", "fine"]
    assert "no answer within" in report.checks[0].detail
    assert seen == list(report.checks)


def test_progress_is_told_as_it_happens() -> None:
    told: list[str] = []
    run_probes(
        [Probe("a", fine), Probe("b", fine)],
        on_start=told.append,
        on_check=lambda check: told.append(check.name),
    )
    assert told == ["a", "fine", "b", "fine"]


def test_a_report_is_ok_when_all_checks_are() -> None:
    good, bad = Check("good", True, ""), Check("bad", False, "broken", "mend it")
    assert Report((good,)).ok
    assert Report((good, bad)).to_dict() == {
        "ok": False,
        "checks": [
            {"name": "good", "ok": True, "detail": "", "remedy": ""},
            {"name": "bad", "ok": False, "detail": "broken", "remedy": "mend it"},
        ],
    }
