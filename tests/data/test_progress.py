"""Tests that bars are drawn on a terminal only, and that a log has plain lines."""

import io
import sys

import pytest

from ram_tf.data import progress
from tests.support.paths import ROOT


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("leave", [True, False])
def test_a_bar_is_drawn_on_a_terminal(monkeypatch, leave):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress.bar("abc", "reading", unit="img", leave=leave)) == list("abc")
    assert "reading" in sys.stderr.getvalue()
    assert "\r" in sys.stderr.getvalue()


@pytest.mark.parametrize("leave", [True, False])
def test_a_bar_shows_nothing_in_a_log(capsys, leave):
    assert list(progress.bar("abc", "reading", leave=leave)) == list("abc")
    with progress.bar(None, "predicting", 3, "shard", leave) as bar:
        bar.update(3 - bar.n)
    assert capsys.readouterr() == ("", "")


BAR = ("\r0/3 \x1b[37m━━\x1b[0m", "\b\b\r3/3 ━━\n")


def download():
    print("Downloading data from https://a.example/b.h5")
    for drawn in BAR:
        sys.stdout.write(drawn)
        sys.stdout.flush()


def test_a_download_is_one_line_in_a_log(capsys):
    with progress.only_lines():
        download()
    assert capsys.readouterr().out == "Downloading data from https://a.example/b.h5\n"


def test_a_download_is_drawn_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    with progress.only_lines():
        download()
    assert sys.stdout.getvalue().endswith("".join(BAR))


def test_no_other_module_of_the_package_makes_bars():
    package = ROOT / "ram_tf"
    makers = {path for path in package.rglob("*.py") if "tqdm" in path.read_text()}
    assert makers == {package / "data" / "progress.py"}
