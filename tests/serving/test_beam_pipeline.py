"""The Beam pipeline: records of all images, resuming, and other file systems."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.support.batch_inputs import (
    REASONS,
    arguments,
    lines,
    mixed,
    write_broken,
)
from tests.support.paths import ROOT
from tests.support.scripts import script

pytest.importorskip("apache_beam", reason="needs the extra beam")

from apache_beam.ml.inference.base import PredictionResult

from ram_tf.serving.batch.answers import Image
from ram_tf.serving.batch.batch_folder import Batch, Shard
from ram_tf.serving.batch.beam_pipeline import Placed, WriteShards
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor


@pytest.fixture(scope="module")
def images(squares, tmp_path_factory):
    return mixed(squares, write_broken(tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def done(version, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "out"
    assert script("predict_beam")(*arguments(version, images, folder)) == 0
    return folder


def test_every_image_has_exactly_one_record_or_reason(done, images):
    names = {path.name for path in done.iterdir()}
    shards = [f"{i:05}-of-00004.jsonl" for i in range(4)]
    kinds = {f"{kind}-{shard}" for kind in ("part", "unread") for shard in shards}
    assert names == kinds | {"manifest.json", "images.jsonl"}
    for number, shard in enumerate(shards):
        found = [
            json.loads(line)["image"]
            for kind in ("part", "unread")
            for line in (done / f"{kind}-{shard}").read_text().splitlines()
        ]
        assert sorted(found) == sorted(images[6 * number : 6 * number + 6])
    records = [record["image"] for record in lines(done, "part")]
    readable = [path for path in images if pathlib.Path(path).name not in REASONS]
    assert records == readable
    assert records[0] == records[-1]


def test_images_without_a_record_have_a_reason(done):
    unread = lines(done, "unread")
    found = {pathlib.Path(line["image"]).name: line["reason"] for line in unread}
    assert found == REASONS
    assert all(line["detail"] for line in unread)


def test_records_equal_those_of_predict(done, version, images):
    readable = [path for path in images if pathlib.Path(path).name not in REASONS]
    expected = list(predict(Predictor.load(version), readable))
    for record, line in zip(lines(done, "part"), expected, strict=True):
        for name in ("image", "valid", "labels"):
            assert record[name] == line[name]
        for name in ("scores", "probabilities", "boxes"):
            assert list(record[name]) == list(line[name])
            for key, value in line[name].items():
                assert record[name][key] == pytest.approx(value, abs=1e-4)


def test_only_unfinished_shards_are_processed(done, version, images, capsys):
    part = done / "part-00001-of-00004.jsonl"
    before = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    content = json.loads(part.read_text().splitlines()[0])
    part.unlink()
    assert script("predict_beam")(*arguments(version, images, done)) == 0
    printed = capsys.readouterr().out
    assert "3 of 4 shards are finished" in printed
    rows = {row.rsplit(maxsplit=2)[0]: row.split()[-2:] for row in printed.splitlines()}
    assert rows["read"] == ["6", "22"]
    assert rows["predicted"] == ["5", "17"]
    assert [rows[reason] for reason in REASONS.values()] == [
        *(["0", "1"], ["0", "1"], ["1", "1"], ["0", "1"], ["0", "1"])
    ]
    after = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed == {part.name, "unread-00001-of-00004.jsonl"}
    again = json.loads(part.read_text().splitlines()[0])
    assert again["scores"] == pytest.approx(content["scores"], abs=1e-5)


def test_every_path_may_be_on_another_file_system(version, squares, tmp_path):
    status = script("predict_beam")(
        *("--model_dir", f"file://{version}", "--images", f"file://{squares}/val?.png"),
        *("--output_dir", f"file://{tmp_path}/out[1]", "--shard_size", "5"),
    )
    assert status == 0
    expected = [f"file://{squares}/val{i}.png" for i in range(10)]
    assert [each["image"] for each in lines(tmp_path / "out[1]", "part")] == expected


def test_a_divided_shard_is_an_error_and_stays_unfinished(version, tmp_path):
    batch = Batch.open(str(tmp_path), ["a", "b"], str(version), "jsonl", 2)
    write = WriteShards(batch)
    write.start_bundle()
    placed = Placed(batch.shards[0], 0, Image("a", b""))
    write.process(PredictionResult(placed, {"image": "a", "valid": True}))
    with pytest.raises(RuntimeError, match="were divided"):
        write.finish_bundle()
    assert batch.unfinished() == [Shard(0, 0, 2)]


def test_a_failed_pipeline_is_reported_in_one_line(version, images, tmp_path, capsys):
    (tmp_path / "out" / "part-00000-of-00004.jsonl" / "in the way").mkdir(parents=True)
    (tmp_path / "out" / "part-00000-of-00004.jsonl").rename(tmp_path / "way")
    listed = arguments(version, images, tmp_path / "out")
    Batch.open(str(tmp_path / "out"), images, str(version), "jsonl", 6)
    (tmp_path / "way").rename(tmp_path / "out" / "unread-00002-of-00004.jsonl")
    assert script("predict_beam")(*listed) == 1
    assert "error: The pipeline failed; start it again" in capsys.readouterr().err


def test_an_unknown_flag_is_refused(version, images, tmp_path, capsys):
    listed = arguments(version, images, tmp_path / "out", "--fromat", "parquet")
    assert script("predict_beam")(*listed) == 1
    assert "Received: --fromat" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_resumed_batch_equals_an_undisturbed_one(version, images, done, tmp_path):
    many = images * 20
    command = [sys.executable, str(ROOT / "scripts" / "predict_beam.py")]
    workers = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")
    listed = arguments(version, many, tmp_path / "out", *workers)
    started = subprocess.Popen([*command, *listed], start_new_session=True)
    while not any((tmp_path / "out").glob("part-*")) and started.poll() is None:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    finished = len(list((tmp_path / "out").glob("part-*")))
    assert 0 < finished < 74
    assert subprocess.run([*command, *listed], check=False).returncode == 0
    whole = script("predict_beam")(*arguments(version, many, tmp_path / "whole"))
    assert whole == 0
    for kind in ("part", "unread"):
        killed, undisturbed = (lines(tmp_path / n, kind) for n in ("out", "whole"))
        assert len(killed) == 20 * len(lines(done, kind))
        for one, other in zip(killed, undisturbed, strict=True):
            assert one.keys() == other.keys()
            assert one["image"] == other["image"]
            assert one.get("scores") == pytest.approx(other.get("scores"), abs=1e-5)
