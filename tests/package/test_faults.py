"""The suite of faults counts rightly; `make faults` does the faults themselves."""

import subprocess
import sys
import types

import pytest

from tests.faults import case, run
from tests.support.paths import ROOT


def outcome_of(do):
    return case.outcome(case.Case("a fault", "a place", do), bench=None)


def holds(bench):
    return "error: named | so", "bit-equal"


def fails(bench):
    raise case.NotHeldError("half a version")


def cannot(bench):
    raise case.NotPossibleError("no mount")


def breaks(bench):
    raise TimeoutError("the program hangs")


@pytest.mark.parametrize(
    ("done", "status"),
    [
        ([holds], 0),
        ([holds, cannot], 0),
        ([holds, fails], 1),
        ([fails], 1),
        ([holds, breaks], 1),
        ([cannot], 1),
        ([], 1),
    ],
)
def test_the_status_is_0_only_if_something_held_and_nothing_failed(done, status):
    assert case.status([outcome_of(do) for do in done]) == status


def test_what_failed_and_what_was_skipped_is_named():
    lines = case.summary([outcome_of(do) for do in (holds, fails, cannot)])
    assert lines.splitlines() == [
        "1 held, 1 failed, 1 skipped",
        "failed: a fault, a place",
        "skipped: a fault, a place",
    ]


def test_the_table_has_a_row_for_each_fault():
    rows = case.table([outcome_of(do) for do in (holds, fails, cannot)]).splitlines()
    assert rows[2:] == [
        r"| a fault | a place | error: named \| so | bit-equal |",
        "| a fault | a place | half a version | FAILED |",
        "| a fault | a place |  | skipped: no mount |",
    ]


def test_a_fault_that_breaks_the_suite_costs_no_other(monkeypatch, capsys, tmp_path):
    cases = [case.Case("a fault", do.__name__, do) for do in (breaks, holds)]
    monkeypatch.setitem(run.PARTS, "clock", types.SimpleNamespace(CASES=cases))
    (tmp_path / "saved" / "csv" / "1").mkdir(parents=True)  # trains nothing
    assert run.main(["--only", "clock", "--keep", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "| breaks | TimeoutError: the program hangs (test_faults.py" in printed
    assert "1 held, 1 failed, 0 skipped" in printed


def test_every_kind_of_fault_is_done():
    kinds = {
        path.stem
        for path in (ROOT / "tests" / "faults").glob("*.py")
        if "\nCASES = " in path.read_text()
    }
    assert kinds == set(run.PARTS)


def test_no_two_faults_have_one_name():
    names = [(c.fault, c.where) for part in run.PARTS.values() for c in part.CASES]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_spoilt_files_are_not_exported():
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
    assert "6 held, 0 failed, 0 skipped" in done.stdout
