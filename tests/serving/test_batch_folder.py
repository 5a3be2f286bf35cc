"""Batches: shards, manifest, output folder, list of images, and table."""

import json
import shutil

import pytest

from ram_tf.serving.batch import batch_progress
from ram_tf.serving.batch.batch_folder import Batch, list_images, read_list
from tests.support.small_settings import SMALL

ANSWERS = [
    {"image": "a", "reason": "empty", "detail": ""},
    {"image": "b", "valid": True},
    {"image": "c", "valid": True},
]
PATHS = [f"photos/{i}\n{i}.jpg" for i in range(7)]


@pytest.fixture
def version(tmp_path_factory):
    """A version folder with the files that a batch reads before loading a model."""
    folder = tmp_path_factory.mktemp("model") / "1"
    (folder / "assets.extra").mkdir(parents=True)
    config = SMALL.to_json(("blue", "red"))
    (folder / "assets.extra" / "config.json").write_text(config)
    (folder / "saved_model.pb").write_bytes(b"graph")
    return folder


def opened(folder, version, images=PATHS, file_format="jsonl", size=3, threshold=None):
    return Batch.open(str(folder), images, str(version), file_format, size, threshold)


def test_shards_hold_the_list_in_order(version, tmp_path):
    batch = opened(tmp_path / "new" / "out", version)
    assert [shard.count for shard in batch.shards] == [3, 3, 1]
    assert [path for shard in batch.shards for path in batch.paths(shard)] == PATHS


def test_a_shard_is_finished_when_its_records_exist(version, tmp_path):
    batch = opened(tmp_path, version)
    batch.finish(batch.shards[1], ANSWERS)
    again = opened(tmp_path, version)
    assert [shard.number for shard in again.unfinished()] == [0, 2]
    assert [again.is_finished(shard) for shard in again.shards] == [False, True, False]
    (tmp_path / "part-00001-of-00003.jsonl").unlink()
    assert len(again.unfinished()) == 3
    assert not again.is_finished(again.shards[1])


def test_answers_are_records_or_reasons_in_order(version, tmp_path):
    batch = opened(tmp_path, version)
    batch.finish(batch.shards[1], ANSWERS)
    records, unread = (
        (tmp_path / f"{kind}-00001-of-00003.jsonl").read_text().splitlines()
        for kind in ("part", "unread")
    )
    assert [json.loads(line) for line in records] == ANSWERS[1:]
    assert [json.loads(line) for line in unread] == ANSWERS[:1]
    assert batch.unread([batch.shards[1]]) == {"empty": 1}


def test_the_table_counts_this_start_and_the_whole_batch(version, tmp_path):
    batch = opened(tmp_path, version)
    first, *todo = batch.shards
    batch.finish(first, [{**ANSWERS[0], "reason": "missing"}, *ANSWERS[1:]])
    for shard in todo:
        batch.finish(shard, ANSWERS[: shard.count])
    table = batch_progress.table(batch, todo).splitlines()
    rows = {row.rsplit(maxsplit=2)[0]: row.split()[-2:] for row in table}
    assert rows["read"] == ["4", "7"]
    assert rows["predicted"] == ["2", "4"]
    assert (rows["missing"], rows["empty"]) == (["0", "1"], ["2", "2"])


def test_a_shard_that_is_killed_between_its_files_is_not_finished(
    version, tmp_path, monkeypatch
):
    batch, write, written = opened(tmp_path, version), Batch._write, []

    def write_once(batch, name, content):
        if written:
            raise RuntimeError("killed")
        written.append(name)
        write(batch, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_write", write_once)
        with pytest.raises(RuntimeError, match="killed"):
            batch.finish(batch.shards[1], ANSWERS)
    assert len(opened(tmp_path, version).unfinished()) == 3


def test_incomplete_files_of_a_killed_process_are_removed(version, tmp_path):
    opened(tmp_path, version)
    half = tmp_path / "partial-0-part-00001-of-00003.jsonl"
    half.write_text("{")
    assert len(opened(tmp_path, version).unfinished()) == 3
    assert not half.exists()


@pytest.mark.parametrize("name", ["[1]", "a]b[", "what?", "*", "**"])
def test_a_folder_may_have_any_name(version, tmp_path, name):
    model, out = tmp_path / f"model{name}", tmp_path / f"out{name}"
    shutil.copytree(version, model)
    batch = opened(out, model)
    batch.finish(batch.shards[1], ANSWERS)
    half = out / "partial-0-part-00000-of-00003.jsonl"
    half.write_text("{")
    # Not directly in the folder, but its name as a pattern may match them.
    (out / "below").mkdir()
    (out / "below" / "part-00000-of-00003.jsonl").touch()
    shutil.copytree(out, tmp_path / "out1")
    assert [shard.number for shard in opened(out, model).unfinished()] == [0, 2]
    assert not half.exists()
    (model / "saved_model.pb").write_bytes(b"grape")
    with pytest.raises(ValueError, match="the same model as"):
        opened(out, model)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"images": PATHS[::-1]}, "the same list as"),
        ({"images": [*PATHS, PATHS[0]]}, "the same images, list as"),
        ({"file_format": "parquet"}, "the same format as"),
        ({"size": 2}, "the same shard_size as"),
        ({"threshold": 0.5}, "the same threshold as"),
    ],
)
def test_another_batch_in_the_folder_is_refused(version, tmp_path, other, message):
    opened(tmp_path, version)
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, version, **other)
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_another_model_is_refused(version, tmp_path):
    other = shutil.copytree(version, tmp_path / "1")
    opened(tmp_path / "out", other)
    (other / "saved_model.pb").write_bytes(b"grape")
    with pytest.raises(ValueError, match="the same model as"):
        opened(tmp_path / "out", other)


def test_records_without_a_manifest_are_not_added_to(version, tmp_path):
    (tmp_path / "part-00000-of-00003.jsonl").write_text("")
    with pytest.raises(ValueError, match="unknown origin"):
        opened(tmp_path, version)


@pytest.mark.parametrize("other", [{"images": []}, {"size": 0}, {"file_format": "csv"}])
def test_a_batch_without_images_size_or_format_is_refused(version, tmp_path, other):
    with pytest.raises(ValueError, match="batch cannot be created"):
        opened(tmp_path, version, **other)


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model"):
        opened(tmp_path, tmp_path)


def test_patterns_are_expanded_and_paths_are_taken_as_they_are(squares, tmp_path):
    found = list_images([f"{squares}/val?.png", "none.png"], ["a[1].png"])
    assert found == [
        *(f"{squares}/val{i}.png" for i in range(10)),
        "none.png",
        "a[1].png",
    ]
    assert len(list_images([f"{squares.parent}/**/val*.png"])) >= 16
    with pytest.raises(FileNotFoundError, match="no such images"):
        list_images([f"{tmp_path}/*.jpg"])


def test_brackets_are_a_pattern_unless_a_file_has_the_name(tmp_path):
    for name in ("a[1].png", "a1.png", "a2.png"):
        (tmp_path / name).touch()
    assert list_images([f"{tmp_path}/a[1].png"]) == [f"{tmp_path}/a[1].png"]
    assert list_images([f"{tmp_path}/a[12].png"]) == [
        f"{tmp_path}/a1.png",
        f"{tmp_path}/a2.png",
    ]


def test_a_list_may_hold_names_of_any_bytes(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.jpg\n\nb\xff .jpg\n")
    assert read_list(str(path), None) == ["a.jpg", "b\udcff .jpg"]
