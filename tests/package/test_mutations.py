"""The planted faults fit the code and the tests, and what happens is reported."""

import ast
import re

import pytest

from tests.faults.mutations import __main__ as command
from tests.faults.mutations import planted, trial
from tests.support.paths import ROOT

FAULTS = planted.read_all()


def read(path):
    return (ROOT / path).read_text("utf-8")


def test_there_are_faults_of_every_equation_and_enough_of_others():
    assert len(FAULTS) >= 60
    numbers = {int(n) for f in FAULTS for n in re.findall(r"^eq-(\d+)-", f.name)}
    assert numbers == set(range(1, 16))


def test_all_faults_have_different_names():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_fault_changes_a_text_that_its_file_has_once():
    assert not [f.name for f in FAULTS if f.applied_to(read(f.file)) is None]


def test_every_fault_leaves_a_module_that_can_be_parsed():
    for fault in FAULTS:
        ast.parse(fault.applied_to(read(fault.file)), fault.name)


def test_the_test_of_every_fault_exists():
    functions = {}
    for fault in FAULTS:
        path, _, name = fault.test.partition("::")
        if path not in functions:
            nodes = ast.parse(read(path)).body
            functions[path] = {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
        assert name in functions[path], fault.name


DOUBLE = "def double(x):\n    return 2 * x\n"


def make_copy(folder):
    root = folder / "root"
    for path, content in {
        "ram_tf/__init__.py": "",
        "ram_tf/number.py": DOUBLE,
        "tests/test_number.py": "from ram_tf.number import double\n"
        "def test_double():\n    assert double(3) == 6\n",
        "setup.cfg": "[tool:pytest]\naddopts = -ra\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return trial.Copy(folder / "copy", root)


def fault_of(old, new, test="test_double"):
    test = f"tests/test_number.py::{test}"
    return planted.Fault("double", "sums", "ram_tf/number.py", old, new, test)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (fault_of("2 * x", "3 * x"), "caught"),
        (fault_of("2 * x", "2 / 0"), "caught"),
        (fault_of("2 * x", "x + x"), "missed"),
        (fault_of("4 * x", "3 * x"), "stale"),
        (fault_of("x", "y"), "stale"),  # it is there twice
        (fault_of("double", "halve"), "broken"),  # the test cannot be collected
        (fault_of("2 * x", "3 * x", "test_dou"), "broken"),
    ],
)
def test_a_fault_is_caught_only_by_a_failure_of_its_test(tmp_path, fault, expected):
    copy = make_copy(tmp_path)
    state, printed = trial.outcome(fault, copy)
    assert state == expected, printed
    assert (copy.folder / fault.file).read_text() == DOUBLE  # changed back


def test_a_test_that_does_not_end_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "TIMEOUT", 3)
    endless = fault_of("return 2 * x", "while True:\n        pass")
    assert trial.outcome(endless, make_copy(tmp_path))[0] == "broken"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["caught"], 0),
        (["caught", "missed"], 1),
        (["caught", "stale"], 1),
        (["caught", "broken"], 1),
        ([], 1),
    ],
)
def test_the_status_is_0_only_if_one_was_caught_and_none_was_not(states, expected):
    outcomes = [(fault_of("1", "2"), state) for state in states]
    assert command.status(outcomes) == expected


def test_the_tables_name_each_fault_and_count_the_outcomes():
    outcomes = [(fault_of("1", "2"), state) for state in ("caught", "missed", "caught")]
    test = "tests/test_number.py::test_double"
    rows = command.table(outcomes).splitlines()
    assert rows[3] == f"| double | ram_tf/number.py | {test} | missed |"
    assert command.summary(outcomes).splitlines()[2:] == [
        "| sums | 2 | 1 | 0 | 0 |",
        "| all | 2 | 1 | 0 | 0 |",
    ]


def test_a_name_that_no_fault_has_is_an_error(capsys):
    assert command.main(["--only", "nothing"]) == 2
    assert "no fault has such a name" in capsys.readouterr().out
