"""Shards are written whole, as large as asked, and only into folders of their own."""

import itertools
import pathlib
import shutil

import pytest

from ram_tf.data.image_bytes import read_files
from ram_tf.data.shards import shard_writer
from ram_tf.runs.splits import run_splits, sharding
from tests.support.sharded import settings_of, write_shards


def test_a_shard_takes_what_was_asked_for(written, source):
    split = run_splits.read_split(settings_of(source), "train")
    planned = shard_writer.plan(split, (10, "refuse"), 20_000)
    assert [row for shard in planned for row in shard.rows] == [*range(14)]
    sizes = [len(encoded) for encoded in read_files(split)]
    for shard, following in itertools.pairwise(planned):
        assert shard.bytes == sum(sizes[row] for row in shard.rows)
        assert shard.bytes <= 20_000 < shard.bytes + sizes[following.rows[0]]
    (one,) = shard_writer.plan(split, (10, "refuse"), 10**9)
    assert one.rows == range(14)
    assert len(shard_writer.plan(split, (10, "refuse"), 1)) == 14


class Interrupted(BaseException):
    pass


def test_an_interruption_leaves_nothing_half_and_is_gone_on_from(
    source, written, tmp_path, monkeypatch
):
    folder, added = tmp_path / "shards", shard_writer._Records.add
    images = iter(range(16))  # two of the validation images

    def add(*arguments):
        if next(images, None) is None:
            raise Interrupted
        added(*arguments)

    monkeypatch.setattr(shard_writer._Records, "add", add)
    with pytest.raises(Interrupted):
        write_shards(source, folder)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not all written"):
        run_splits.load(settings_of(folder, "shards"))
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-*")}
    assert done
    assert all(f"{name.split('.')[0]}.npz" in done for name in done)
    assert not [name for name in done if name.startswith("partial")]
    # As a killed process leaves them.
    for name in ("val-00000.tfrecord", "shards.json"):
        (folder / f"partial-999999999-{name}").write_bytes(b"half")
    (folder / "val-00000.tfrecord").write_bytes(b"without an index")
    (folder / "train-00099.npz").write_bytes(b"of other sizes of shards")
    write_shards(source, folder)
    for name, time in done.items():
        assert (folder / name).stat().st_mtime_ns == time
    expected = pathlib.Path(written.data.data_dir)
    shards = {path.name: path.read_bytes() for path in folder.glob("*.tfrecord")}
    assert len(shards) > 3
    for name, content in shards.items():
        assert content == (expected / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in expected.iterdir()
    )


def test_a_folder_with_something_else_is_refused(source, copied, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"something else.*notes\.txt"):
        write_shards(source, other)
    folder, _ = copied
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    write_shards(source, folder)  # the same once more
    with pytest.raises(ValueError, match="other images, labels or settings"):
        write_shards(source, folder, max_pixels=10**6)
    assert before == {path: path.read_bytes() for path in folder.glob("*.*")}


@pytest.mark.parametrize("change", ["label", "unknown", "box", "image"])
def test_shards_of_changed_data_are_refused(source, tmp_path, change):
    folder = shutil.copytree(source, tmp_path / "data")
    shards = tmp_path / "shards"
    write_shards(folder, shards)
    table, boxes = folder / "train.csv", folder / "boxes.json"
    text = table.read_text("utf-8")
    if change == "label":
        table.write_text(text.replace("0.jpg,cat", "0.jpg,dog"), "utf-8")
    elif change == "unknown":
        table.write_text(text.replace(";?cat", ""), "utf-8")
    elif change == "box":
        boxes.write_text(boxes.read_text("utf-8").replace("0.2", "0.1"), "utf-8")
    else:
        (folder / "train" / "grün 0.jpg").touch()
    with pytest.raises(ValueError, match="other images, labels or settings"):
        write_shards(folder, shards)


def test_shards_are_not_made_of_shards(written, tmp_path):
    with pytest.raises(ValueError, match="not made of shards"):
        sharding.write(written, tmp_path / "again", 1000)


def test_a_full_disk_is_noticed_before(source, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(ValueError, match="do not fit"):
        write_shards(source, tmp_path / "shards")
