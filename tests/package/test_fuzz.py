"""A short fuzz of each reader, and that a fuzz finds what is wrong."""

import argparse
import importlib

import pytest

pytest.importorskip("hypothesis", reason="needs the extra dev")

from fuzz import run
from fuzz.target import try_inputs

FEW = {"decoding": 30, "pipeline": 1, "served_graph": 1, "server_answers": 30}


@pytest.mark.parametrize("name", run.TARGETS)
def test_a_reader_returns_or_says_in_a_sentence_why_not(name, tmp_path):
    target = importlib.import_module(f"fuzz.{name}").target(tmp_path)
    wrong = []
    count = FEW.get(name, 60)
    done = try_inputs(target, count, 0, 60, found=lambda *one: wrong.append(one))
    assert done == count
    assert not wrong


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
def test_what_is_wrong_with_a_reader_is_found(body, column, tmp_path, monkeypatch):
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
    asked = argparse.Namespace(seed=0, seconds=1, memory=200)
    row, findings = run.try_reader("planted", 6, asked)
    assert run.is_bad(row, asked.memory)
    assert getattr(row, column) > (200 if column == "memory" else 0)
    if column != "memory":
        assert findings[0]["said"]
        assert int(findings[0]["input"]) > 100


def test_memory_that_was_taken_before_a_crash_is_told(tmp_path, monkeypatch):
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
    asked = argparse.Namespace(seed=0, seconds=5, memory=200)
    row, _ = run.try_reader("planted", 500, asked)
    assert row.crashes
    assert row.memory > 200


def test_a_right_reader_has_nothing_found(tmp_path, monkeypatch):
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
    asked = argparse.Namespace(seed=0, seconds=5, memory=200)
    row, findings = run.try_reader("planted", 50, asked)
    assert row.inputs == 50
    assert not run.is_bad(row, asked.memory)
    assert findings == []
