"""Each reader passes a short fuzz, and fuzzing finds planted errors."""

import argparse
import importlib

import pytest

pytest.importorskip("hypothesis", reason="needs the extra dev")

from fuzz import run
from fuzz.target import try_inputs

INPUTS = {
    "decoding": 30,
    "conversion": 100,
    "pipeline": 1,
    "served_graph": 1,
    "server_answers": 30,
}


@pytest.mark.parametrize("name", run.TARGETS)
def test_a_reader_returns_or_refuses_with_a_message(name, tmp_path):
    target = importlib.import_module(f"fuzz.{name}").target(tmp_path)
    errors = []
    count = INPUTS.get(name, 60)
    done = try_inputs(target, count, 0, 60, report=lambda *one: errors.append(one))
    assert done == count
    assert not errors


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ("{}['x']", "wrong"),
        ("int('x')", "wrong"),
        ("assert value % 2", "wrong"),
        ("os.kill(os.getpid(), 11)", "crashes"),
        ("time.sleep(60)", "hangs"),
        ("kept.append(b'x' * (300 << 20))", "memory"),
    ],
)
def test_an_error_of_a_reader_is_found(body, column, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(
        "import os, time\n"
        "from hypothesis import strategies as st\n"
        "from fuzz.target import Target\n"
        "kept = []\n"
        "def read(value):\n"
        "    if value > 100 and not kept:\n"
        f"        {body}\n"
        "def target(folder):\n"
        "    return Target(st.integers(0, 200), read, 1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    arguments = argparse.Namespace(seed=0, seconds=1, memory=200)
    row, findings = run.try_reader("planted", 6, arguments)
    assert run.is_bad(row, arguments.memory)
    assert getattr(row, column) > (200 if column == "memory" else 0)
    if column != "memory":
        assert findings[0]["message"]
        assert int(findings[0]["input"]) > 100


def test_memory_before_a_crash_is_reported(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(
        "import os\n"
        "from hypothesis import strategies as st\n"
        "from fuzz.target import Target\n"
        "kept = []\n"
        "def read(value):\n"
        "    if value > 100 and not kept:\n"
        "        kept.append(b'x' * (300 << 20))\n"
        "    elif value > 100:\n"
        "        os.kill(os.getpid(), 11)\n"
        "def target(folder):\n"
        "    return Target(st.integers(0, 200), read, 1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    arguments = argparse.Namespace(seed=0, seconds=5, memory=200)
    row, _ = run.try_reader("planted", 500, arguments)
    assert row.crashes
    assert row.memory > 200


def test_a_correct_reader_has_no_findings(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(
        "from hypothesis import strategies as st\n"
        "from fuzz.target import Target\n"
        "def read(value):\n"
        "    if value % 2:\n"
        "        raise ValueError('Expected an even number. Received: an odd one')\n"
        "def target(folder):\n"
        "    return Target(st.integers(0, 200), read, 2)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    arguments = argparse.Namespace(seed=0, seconds=5, memory=200)
    row, findings = run.try_reader("planted", 50, arguments)
    assert row.inputs == 50
    assert not run.is_bad(row, arguments.memory)
    assert findings == []
