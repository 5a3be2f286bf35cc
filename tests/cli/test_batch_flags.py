"""Flags of `ram-tf batch` for one of its engines, and engines that are missing."""

import sys

import pytest

from ram_tf.cli import batch
from ram_tf.serving import batch as package
from tests.support.scripts import load, script

NEEDED = ["--model_dir=m", "--output_dir=o", "--images=i"]


def test_beam_is_the_engine_and_has_the_other_flags():
    arguments, flags = batch.parse([*NEEDED, "--runner", "FlinkRunner"])
    assert (arguments.engine, flags) == ("beam", ["--runner", "FlinkRunner"])


def test_the_script_named_after_beam_is_the_same_command():
    assert load("predict_beam").main is load("predict_batch").main is batch.main


@pytest.mark.parametrize(
    ("given", "expected"), [("2", [2, 2]), ("2 8", [2, 8]), ("", [1, None])]
)
def test_the_number_of_actors_is_one_or_a_range(given, expected):
    flags = ["--concurrency", *given.split()] if given else []
    arguments, others = batch.parse([*NEEDED, "--engine", "ray", *flags])
    assert (arguments.concurrency, others) == (expected, [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--engine ray --runner FlinkRunner", "arguments: --runner"),
        ("--num_gpus 1", "--num_gpus is for --engine ray only"),
        ("--concurrency 1 2", "--concurrency is for --engine ray only"),
        ("--engine ray --concurrency 3 2", "a smaller and a larger one"),
        ("--engine ray --concurrency 0", "a smaller and a larger one"),
        ("--engine ray --concurrency 1 2 3", "a smaller and a larger one"),
        ("--engine ray --num_cpus -1", "cannot be negative"),
        ("--engine dask", "invalid choice: 'dask'"),
        ("--batch_size 0", "--batch_size is 1 or more"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        batch.parse([*NEEDED, *flags.split()])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "module", "needed"),
    [("beam", "beam_pipeline", "apache_beam"), ("ray", "ray_pool", "ray")],
)
def test_an_engine_that_is_not_installed_is_named(
    engine, module, needed, monkeypatch, capsys, tmp_path
):
    monkeypatch.delitem(sys.modules, f"{package.__name__}.{module}", raising=False)
    monkeypatch.delattr(package, module, raising=False)
    monkeypatch.setitem(sys.modules, needed, None)
    out = tmp_path / "out"
    status = script("predict_batch")(
        *NEEDED[::2], f"--output_dir={out}", f"--engine={engine}"
    )
    assert status == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert f"needs the extra {engine}. Expected: pip install" in error
    assert not out.exists()
