"""Tests that `fit --help` shows the flags that people need first, in groups."""

import re

import pytest

from ram_tf.cli import command, fit
from ram_tf.runs.config import FIELDS

FIRST = set(
    "dataset data_dir output_dir name preset config model backbone weights image_size "
    "batch_size epochs pooled_epochs seed resume devices skip_unreadable "
    "negatives truncated start_from".split()
)


def shown(capsys, *arguments):
    """The text of a help, and the names of the flags that it explains."""
    with pytest.raises(SystemExit) as ended:
        fit.parse(arguments)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    flags = re.findall(r"^  (?:-h, )?--(\w[\w-]*)", text, re.M)
    return text, set(flags) - {"help", "help-all"}


def test_the_help_shows_the_flags_that_people_need_first(capsys):
    text, flags = shown(capsys, "--help")
    assert flags == FIRST
    for group in ("data", "image", "model", "training"):
        assert f"\n{group}:\n" in text
    assert "\nattention:" not in text
    assert len(text.splitlines()) < 110


def test_its_last_line_leads_to_the_other_flags(capsys):
    last = shown(capsys, "--help")[0].splitlines()[-1]
    others = shown(capsys, "--help-all")[1] - FIRST
    assert last == f"{len(others)} more flags: ram-tf fit --help-all"


def test_help_all_shows_every_flag_in_the_group_of_its_setting(capsys):
    text, flags = shown(capsys, "--help-all")
    assert flags == {*FIELDS, *FIRST, "saved_models", "pooled_only"}
    for group, _ in FIELDS.values():
        assert not group or f"\n{group}:\n" in text


def test_a_wrong_flag_is_answered_with_the_first_flags_only(capsys):
    with pytest.raises(SystemExit):
        fit.parse(["--no_such_flag"])
    usage = capsys.readouterr().err
    assert "--epochs" in usage
    assert "--lambda_anchor" not in usage


def test_hidden_flags_are_parsed():
    parser = command.parser("Text.")
    parser.hide([parser.add_argument("--rare", type=int)])
    parser.hide([parser.add_argument("--rarer", type=int)])
    parsed = parser.parse_args(["--rare", "3", "--rarer", "4"])
    assert (parsed.rare, parsed.rarer) == (3, 4)
    assert "--rare" not in parser.format_help().replace("--help-all", "")
