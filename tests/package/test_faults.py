"""The fault suite reports outcomes correctly; `make faults` runs the faults."""

import subprocess
import sys
import types

import pytest

from tests.faults import case, run
from tests.support.paths import ROOT


def outcome_of(do):
    return case.outcome(case.Case("a fault", "a place", do), work=None)


def passes(work):
    return "error: named | so", "bit-equal"


def fails(work):
    raise case.FailedError("half a version")


def skips(work):
    raise case.SkippedError("no mount")


def breaks(work):
    raise TimeoutError("the program hangs")


@pytest.mark.parametrize(
    ("done", "status"),
    [
        ([passes], 0),
        ([passes, skips], 0),
        ([passes, fails], 1),
        ([fails], 1),
        ([passes, breaks], 1),
        ([skips], 1),
        ([], 1),
    ],
)
def test_the_status_is_0_only_if_one_passed_and_none_failed(done, status):
    assert case.status([outcome_of(do) for do in done]) == status


def test_failed_and_skipped_faults_are_named():
    lines = case.summary([outcome_of(do) for do in (passes, fails, skips)])
    assert lines.splitlines() == [
        "1 passed, 1 failed, 1 skipped",
        "failed: a fault, a place",
        "skipped: a fault, a place",
    ]


def test_the_table_has_a_row_for_each_fault():
    rows = case.table([outcome_of(do) for do in (passes, fails, skips)]).splitlines()
    assert rows[2:] == [
        r"| a fault | a place | error: named \| so | bit-equal |",
        "| a fault | a place | half a version | FAILED |",
        "| a fault | a place |  | skipped: no mount |",
    ]


def test_an_unexpected_error_does_not_stop_other_faults(monkeypatch, capsys, tmp_path):
    cases = [case.Case("a fault", do.__name__, do) for do in (breaks, passes)]
    monkeypatch.setitem(run.PARTS, "clock", types.SimpleNamespace(CASES=cases))
    (tmp_path / "saved" / "csv" / "1").mkdir(parents=True)  # trains nothing
    assert run.main(["--only", "clock", "--keep", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "| breaks | TimeoutError: the program hangs (test_faults.py" in printed
    assert "1 passed, 1 failed, 0 skipped" in printed


def test_every_kind_of_fault_is_tested():
    kinds = {
        path.stem
        for path in (ROOT / "tests" / "faults").glob("*.py")
        if "\nCASES = " in path.read_text()
    }
    assert kinds == set(run.PARTS)


def test_all_faults_have_different_names():
    names = [(c.fault, c.where) for part in run.PARTS.values() for c in part.CASES]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_corrupted_files_are_not_exported():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.faults.run"),
            *("--only", "corruption", "--where", "export.py: "),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "6 passed, 0 failed, 0 skipped" in done.stdout
