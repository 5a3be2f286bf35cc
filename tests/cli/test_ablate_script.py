"""Tests of ablate.py: its flags, and a table over several seeds."""

import json

import pytest

from ram_tf.evaluation.papers import ablation
from tests.support.scripts import SMALL_FLAGS, script


@pytest.mark.parametrize(
    ("flags", "svm"),
    [
        (["--preset=paper"], True),
        (["--preset=paper", "--no-svm"], False),
        ([], False),
        (["--svm"], True),
    ],
)
def test_tables_are_scored_by_svms_by_default_only_with_the_preset_paper(
    squares, tmp_path, monkeypatch, capsys, flags, svm
):
    def report_svm(table, base, seeds, folder, svm):
        raise ValueError(f"svm={svm}")

    monkeypatch.setattr(ablation, "compare", report_svm)
    where = (f"--data_dir={squares}", f"--output_dir={tmp_path}")
    assert script("ablate")("--table=3", "--dataset=csv", *where, *flags) == 1
    assert f"svm={svm}" in capsys.readouterr().err


@pytest.mark.slow
def test_ablate_prints_table_3_over_seeds(squares, tmp_path, capsys):
    status = script("ablate")(
        *(
            "--table=3",
            *SMALL_FLAGS,
            f"--data_dir={squares}",
            f"--output_dir={tmp_path}",
        ),
        *("--seeds", 0, 1),
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert "single-crop at 40; scored by the network; mean ± standard" in printed
    compared = json.loads((tmp_path / "table3.json").read_text())
    for row, paper in zip(compared["rows"], ("88.6", "90.4"), strict=True):
        (line,) = (x for x in printed.splitlines() if x.startswith(row["name"]))
        assert line.endswith(paper)
        assert f"{row['ours']['mAP']['mean']:.1f} ± " in line
    assert {path.name for path in tmp_path.glob("*-seed*")} == {
        f"{kind}-40-seed{seed}"
        for kind in ("step1", "proposals", "attention-SP")
        for seed in (0, 1)
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--table=7"], "invalid choice"),
        ([], "required"),
        (["--figure=5"], "--model_dir RUN IMAGE"),
        (["--table=4", "a.jpg"], "for --figure 5"),
        (["--table=4", "--scales", 1, 2], "--table 6"),
    ],
)
def test_ablate_refuses_flags_that_do_not_fit_together(arguments, expected, capsys):
    with pytest.raises(SystemExit):
        script("ablate")(*arguments)
    assert expected in capsys.readouterr().err
