"""Shards hold what their dataset holds, to the bit, or are refused."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.data import duplicates
from ram_tf.data.image_bytes import encoded_reader, read_files
from ram_tf.data.pipelines import evaluation_pipeline, training_pipeline
from ram_tf.data.shards import shard_folder
from ram_tf.data.voc_reader import voc
from ram_tf.runs.splits import dataset_check, run_splits, sharding
from ram_tf.runs.splits.leakage import is_same_data
from tests.support.sharded import settings_of, write_shards
from tests.support.voc_folder import write_split

KEPT = "names labels label_names others notes name".split()


def assert_same(split, expected):
    for name in KEPT:
        one, other = getattr(split, name), getattr(expected, name)
        assert type(one) is type(other), name
        np.testing.assert_array_equal(one, other, name)
    assert split.unreadable == expected.unreadable
    np.testing.assert_array_equal(split.greys, expected.greys)
    assert [*read_files(split)] == [*read_files(expected)]
    assert (split.boxes is None) == (expected.boxes is None)
    for one, other in zip(split.boxes or (), expected.boxes or (), strict=True):
        assert [*one] == [*other]
        for name, boxes in one.items():
            assert boxes.dtype == other[name].dtype
            np.testing.assert_array_equal(boxes, other[name])


def test_the_splits_of_a_run_are_those_of_the_dataset(source, written):
    for split, expected in zip(
        run_splits.load(written), run_splits.load(settings_of(source)), strict=True
    ):
        assert_same(split, expected)
    assert run_splits.names_of(written) == run_splits.names_of(settings_of(source))


def test_images_are_held_out_of_shards_as_of_the_dataset(tmp_path):
    folder = tmp_path / "VOCdevkit" / "VOC2007"
    for split, count in {"trainval": 20, "test": 3}.items():
        marks = {
            f"{split}{i}": {"cat": 1 - i % 3, "dog": i % 2 * 2 - 1}
            for i in range(count)
        }
        write_split(folder, split, marks)
    settings = settings_of(tmp_path / "VOCdevkit", "voc2007", seed=5)
    assert voc.LABEL_NAMES[7] == "cat"
    shards = tmp_path / "shards"
    sharding.write(settings, shards, 1000)
    own = settings_of(shards, "shards", seed=5)
    assert run_splits.names_of(own) == ("trainval", None, "test")
    for split, expected in zip(
        run_splits.load(own), run_splits.load(settings), strict=True
    ):
        assert_same(split, expected)
    assert (run_splits.load(own).train.labels < 0).any()  # VOC's difficult objects


def batches(split):
    return list(
        training_pipeline(
            split, 48, 40, True, 3, range(2), 7, zooms=(1.0, 1.2), colour_jitter=0.3
        ).as_numpy_iterator()
    )


def test_training_reads_the_same_bits_in_the_same_order(source, written):
    splits = [run_splits.load(each).train for each in (settings_of(source), written)]
    expected, found = map(batches, splits)
    assert len(found) == len(expected) == 8
    for (images, labels), (other_images, other_labels) in zip(
        found, expected, strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_the_graph_reads_every_byte_of_the_files(source, written):
    split = run_splits.load_split(settings_of(source), "train")
    assert [*read_files(split)][3].endswith(b"\0\0")
    read = encoded_reader(run_splits.load_split(written, "train"))
    assert [read(i).numpy() for i in range(len(split))] == [*read_files(split)]


def test_evaluation_reads_the_same_bits(source, written):
    splits = [run_splits.load(each).report for each in (settings_of(source), written)]
    (expected,), (images,) = (
        next(iter(evaluation_pipeline(split, [40], [32], 8))) for split in splits
    )
    np.testing.assert_array_equal(images, expected)


def test_training_reads_shards_without_decoding_them_first(written, monkeypatch):
    def scan(*_):
        raise AssertionError("images are decoded before training")

    monkeypatch.setattr(run_splits, "scan", scan)
    run_splits.load(written)
    for changes in ({"max_pixels": 2000}, {"truncated": "accept"}, {"cache": "ram"}):
        with pytest.raises(AssertionError, match="before training"):
            run_splits.load(written.replace(**changes))


def test_other_limits_are_those_of_training(written):
    stricter = written.replace(max_pixels=3200, skip_unreadable=True)
    split = run_splits.load_split(stricter, "train")
    assert 0 < len(split) < 14
    reasons = {fault.reason for _, fault in split.unreadable}
    assert (len(split) + len(split.unreadable), reasons) == (14, {"too many pixels"})


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_cached_pixels_of_shards_are_those_of_the_files(
    source, written, cache, tmp_path
):
    where = {"cache_dir": str(tmp_path / "pixels")} if cache == "disk" else {}
    expected, found = (
        batches(run_splits.load(each.replace(cache=cache, **where)).train)
        for each in (settings_of(source), written)
    )
    for batch, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch[0], other[0])


FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/format": tf.io.FixedLenFeature([], tf.string),
    "image/filename": tf.io.FixedLenFeature([], tf.string),
    "image/height": tf.io.FixedLenFeature([], tf.int64),
    "image/width": tf.io.FixedLenFeature([], tf.int64),
    "image/labels": tf.io.VarLenFeature(tf.string),
    "image/labels/unknown": tf.io.VarLenFeature(tf.string),
    "image/object/class/text": tf.io.VarLenFeature(tf.string),
    "image/object/bbox/xmax": tf.io.VarLenFeature(tf.float32),
}


def texts(feature):
    return [text.decode() for text in feature.values.numpy()]


def test_tensorflow_reads_the_records(source, written):
    split = run_splits.load_split(settings_of(source), "train")
    paths = sorted(map(str, (tf.io.gfile.glob(f"{written.data.data_dir}/train-*rd"))))
    assert len(paths) > 1
    records = [*tf.data.TFRecordDataset(paths)]  # which compares the checksums
    assert len(records) == len(split)
    for i, encoded in enumerate(read_files(split)):
        record = tf.io.parse_single_example(records[i], FEATURES)
        assert record["image/encoded"].numpy() == encoded
        assert record["image/filename"].numpy().decode() == split.names[i]
        kind = "png" if i == 1 else "jpeg"
        assert record["image/format"].numpy().decode() == kind
        size = record["image/height"].numpy(), record["image/width"].numpy()
        stored = (50 + 2 * (i + 1), 60 + 3 * i)
        assert size == (stored[::-1] if i == 2 else stored)  # EXIF turns one
        for feature, mark in (("image/labels", 1), ("image/labels/unknown", -1)):
            marked = np.array(split.label_names)[split.labels[i] == mark]
            assert texts(record[feature]) == marked.tolist()
        boxes = [(name, box) for name, each in split.boxes[i].items() for box in each]
        assert texts(record["image/object/class/text"]) == [name for name, _ in boxes]
        edges = [box[3] for _, box in boxes]
        values = record["image/object/bbox/xmax"].values.numpy()
        np.testing.assert_array_equal(values, np.float32(edges))


def refusal(settings):
    """The one sentence by which a run on shards is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run_splits.load(settings)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_shard_that_is_cut_off_is_refused_by_name(copied):
    folder, settings = copied
    path = folder / "train-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    sentence = refusal(settings)
    assert "A shard is cut off or has changed" in sentence
    assert str(path) in sentence


@pytest.mark.parametrize("ending", ["tfrecord", "npz"])
def test_a_missing_file_is_refused_by_name(copied, ending):
    folder, settings = copied
    (folder / f"val-00000.{ending}").unlink()
    sentence = refusal(settings)
    assert f"no file {folder / 'val-00000'}.{ending}" in sentence


def test_an_index_that_is_broken_or_anothers_is_refused_by_name(copied):
    folder, settings = copied
    path = folder / "train-00001.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert str(path) in refusal(settings)
    path.write_bytes((folder / "val-00000.npz").read_bytes())
    assert "is that of another" in refusal(settings)
    assert str(path) in refusal(settings)


def test_a_changed_list_of_shards_is_refused(copied):
    folder, settings = copied
    path = folder / "shards.json"
    path.write_text(path.read_text().replace("train-00001", "train-00000"))
    assert "A file has changed since it was written" in refusal(settings)


def flip_image(folder, split, row):
    """Changes a bit in the middle of an image of a shard."""
    image = split.images[row]
    with open(image.path, "r+b") as file:
        file.seek(image.start + image.length // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return image.path


def test_a_flipped_bit_ends_training_with_the_name_of_the_shard(copied):
    folder, settings = copied
    split = run_splits.load(settings).train
    path = flip_image(folder, split, 9)
    with pytest.raises(tf.errors.OpError) as caught:
        batches(split)
    first = caught.value.message.splitlines()[0]
    assert "A file has changed or is cut off" in first
    assert path in first


def test_a_check_reads_every_image_of_the_shards_again(copied):
    folder, settings = copied
    split = run_splits.load(settings).train
    assert not dataset_check.check(settings).refusals
    path = flip_image(folder, split, 9)
    (sentence,) = dataset_check.check(settings).refusals
    assert path in sentence
    assert split.names[9] in sentence


def test_unreadable_images_are_refused_or_left_out_as_in_training(
    source, tmp_path, capsys
):
    folder = shutil.copytree(source, tmp_path / "data")
    (folder / "train" / "grün 4.jpg").write_bytes(b"no image")
    (folder / "train" / "grün 5.jpg").unlink()
    shards = tmp_path / "shards"
    with pytest.raises(ValueError, match=r"cannot be read.*text.*missing"):
        write_shards(folder, shards)
    # What is written stays for a call that leaves them out.
    paths = {path: path.stat().st_mtime_ns for path in shards.glob("train-*")}
    settings = write_shards(folder, shards, skip_unreadable=True)
    assert paths == {path: path.stat().st_mtime_ns for path in shards.glob("train-*")}
    assert "skipped 2 images" in capsys.readouterr().err
    split = run_splits.load(settings).train
    expected = settings_of(folder, skip_unreadable=True)
    assert_same(split, run_splits.load(expected).train)
    with pytest.raises(ValueError, match=r"Images cannot be read.*2 of 14"):
        run_splits.load(settings.replace(skip_unreadable=False))


def test_images_of_shards_are_known_as_those_of_the_dataset(source, written, copied):
    folder, _ = copied
    for one, other, same in (
        (("csv", str(source)), written, True),
        (("shards", written.data.data_dir), settings_of(source), True),
        (("shards", str(folder)), written, True),
        (("csv", str(folder)), written, False),
    ):
        assert is_same_data(*one, other) is same


def test_duplicates_in_shards_are_found_without_reading_them(source, written):
    splits = [run_splits.load(each).train for each in (settings_of(source), written)]
    again = dataclasses.replace(splits[1], greys=splits[1].greys.copy())
    expected = duplicates.find(splits[0].take([3, 5]), splits[0])
    for path in splits[1].images.paths:
        assert shard_folder.ENDING in path
    found = duplicates.find(again.take([3, 5]), splits[1])
    assert found == expected == duplicates.Duplicates([(0, 3), (1, 5)], [])
