"""Tests the splits of a run on csv folders with real image files."""

import dataclasses
import shutil

import numpy as np
import PIL.Image
import pytest

from ram_tf.runs.config import Config
from ram_tf.runs.splits import run_splits
from tests.support.image_files import encode, noise

NAMES = ("cat", "dog")


def write(folder, name, labels):
    """Writes `<name>.csv` and its images; `labels` has a cell per image."""
    rows = ["image,labels"]
    for i, cell in enumerate(labels):
        path = f"{name}{i}.png"
        PIL.Image.new("RGB", (6, 4), (i, 0, 0)).save(folder / path)
        rows.append(f"{path},{cell}")
    (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train", ["cat", "dog"] * 15)
    write(tmp_path, "val", ["cat", "dog", ""])
    return tmp_path


def settings(folder, **changes):
    return Config.of(dataset="csv", data_dir=str(folder), **changes)


def test_a_tenth_is_held_back_without_a_validation_split(folder):
    splits = run_splits.load(settings(folder))
    assert [len(split) for split in splits] == [27, 3, 3]
    both = splits.train.names + splits.selection.names
    assert sorted(both) == sorted(f"train{i}.png" for i in range(30))
    assert splits.report.names == ("val0.png", "val1.png", "val2.png")


def test_a_run_is_trained_on_the_images_not_held_back(folder):
    own = settings(folder, seed=3)
    whole = run_splits.load_training(own)
    train, held = run_splits.hold_back(own, whole)
    splits = run_splits.load(own)
    assert train.names == splits.train.names
    assert held.names == splits.selection.names
    chosen = settings(folder, seed=3, val_split="val")
    train, held = run_splits.hold_back(chosen, whole)
    assert (train.names, held) == (whole.names, None)


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_images_that_are_read_each_epoch_are_cached(folder, tmp_path, cache):
    where = {"cache_dir": str(tmp_path / "pixels")} if cache == "disk" else {}
    splits = run_splits.load(settings(folder, cache=cache, **where))
    train, selection, report = (split.pixels for split in splits)
    assert report is None  # it is read once
    assert train.edge == settings(folder).image.largest_edge
    assert sorted([*train.rows, *selection.rows]) == list(range(30))
    assert len([*tmp_path.rglob("*.pixels")]) == (30 if cache == "disk" else 0)


def test_the_images_held_back_depend_on_the_seed(folder):
    first, again, other = (
        run_splits.load(settings(folder, seed=seed)).selection.names
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_splits_of_the_dataset_are_the_default(folder):
    write(folder, "test", ["dog"] * 2)
    splits = run_splits.load(settings(folder))
    assert [len(split) for split in splits] == [30, 3, 2]


def test_splits_can_be_chosen(folder):
    write(folder, "test", ["dog"] * 2)
    chosen = settings(folder, train_split="val", val_split="test", report_split="train")
    assert [len(split) for split in run_splits.load(chosen)] == [3, 2, 30]


def damage(folder):
    (folder / "train3.png").write_bytes(b"")
    (folder / "train7.png").write_text("no image")


def test_unreadable_images_are_an_error_that_names_them(folder):
    damage(folder)
    with pytest.raises(ValueError, match="Images cannot be read") as refused:
        run_splits.load(settings(folder))
    assert str(refused.value).endswith(
        "2 of 30: train3.png (empty: 0 bytes), train7.png (text, not an image)"
    )


def test_unreadable_images_are_skipped_and_named_on_request(folder, capsys):
    damage(folder)
    splits = run_splits.load(settings(folder, skip_unreadable=True))
    names = splits.train.names + splits.selection.names
    assert len(names) == 28
    assert not {"train3.png", "train7.png"} & set(names)
    assert "skipped 2 images" in capsys.readouterr().err
    # The remaining images keep their labels.
    split = run_splits.load_split(settings(folder, skip_unreadable=True), "train")
    for name, row in zip(split.names, split.labels, strict=True):
        number = int(name.removeprefix("train").removesuffix(".png"))
        assert row[number % 2] == 1


def test_images_over_max_pixels_are_unreadable(folder):
    PIL.Image.new("RGB", (7, 4)).save(folder / "train5.png")
    expected = r"at most 24 pixels.*train5\.png \(7 x 4 = 28 .* --max_pixels 24\)"
    with pytest.raises(ValueError, match=expected):
        run_splits.load(settings(folder, max_pixels=24))


def test_images_in_other_formats_are_named_by_them(folder):
    with PIL.Image.open(folder / "train5.png") as image:
        image.save(folder / "train5.png", "WEBP")
    with pytest.raises(ValueError, match=r"train5\.png \(a WebP file"):
        run_splits.load(settings(folder))


def test_truncated_images_are_read_on_request(folder):
    whole = encode(noise(8, 8), "JPEG")
    (folder / "train5.png").write_bytes(whole[:-2])
    with pytest.raises(ValueError, match="--truncated accept"):
        run_splits.load(settings(folder))
    splits = run_splits.load(settings(folder, truncated="accept"))
    assert sum(len(split) for split in splits) == 33


def test_the_error_of_a_missing_folder_says_where_it_was_looked_for(
    folder, monkeypatch
):
    monkeypatch.chdir(folder)
    with pytest.raises(FileNotFoundError, match="--data_dir") as refused:
        run_splits.load(settings("base"))
    assert str(folder / "base") in str(refused.value)


def test_a_split_without_a_readable_image_is_an_error(folder):
    for i in range(3):
        (folder / f"val{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="No image of the split can be read"):
        run_splits.load(settings(folder, skip_unreadable=True))


def test_labels_without_positives_are_named(folder, capsys):
    (folder / "labels.txt").write_text("cat\nfox\ndog\nowl\n")
    run_splits.load(settings(folder))
    printed = capsys.readouterr().err
    assert "no positives to train on for 2 of 4 labels: fox, owl" in printed


def test_training_images_without_any_positive_are_refused(folder):
    write(folder, "train", [""] * 5)
    with pytest.raises(ValueError, match="no positives to train on"):
        run_splits.load(settings(folder))


def test_a_test_split_is_mapped_to_the_labels_of_the_model(folder, capsys):
    split = run_splits.load_report(settings(folder), None, NAMES)
    assert split.names[0] == "val0.png"
    capsys.readouterr()
    mapped = run_splits.load_report(settings(folder), "val", ("owl", "cat", "fox"))
    np.testing.assert_array_equal(mapped.labels, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    error = capsys.readouterr().err
    assert "val: 1 of 2 labels are not among the 3 of the model" in error
    assert "present in 1 images: dog" in error
    assert "absent in 3 images: owl, fox" in error
    with pytest.raises(ValueError, match="not those of the model"):
        run_splits.load_report(settings(folder), "val", ("fox", "owl"))


def test_the_labels_of_training_decide(folder, monkeypatch, capsys):
    load_split = run_splits.load_split

    def other_labels(settings, name, *options, **named):
        split = load_split(settings, name, *options, **named)
        if name == "val":
            split = dataclasses.replace(split, label_names=("dog", "cow"))
        return split

    monkeypatch.setattr(run_splits, "load_split", other_labels)
    splits = run_splits.load(settings(folder))
    assert splits.report.label_names == NAMES
    np.testing.assert_array_equal(splits.report.labels[:, 1], [1, 0, 0])
    assert "cow" in capsys.readouterr().err


def test_the_division_is_that_of_the_settings(folder):
    held = run_splits.load(settings(folder, division="random")).selection.names
    order = np.random.default_rng(0).permutation(30)
    assert held == tuple(f"train{i}.png" for i in sorted(order[:3]))


def test_labels_in_another_order_are_refused(folder):
    split = run_splits.load_split(settings(folder), "val")
    with pytest.raises(ValueError, match="in another order"):
        run_splits.check_labels(split, NAMES[::-1])
    run_splits.check_labels(split, list(NAMES))


def test_splits_with_other_labels_are_refused(folder):
    split = run_splits.load_split(settings(folder), "val")
    changed = dataclasses.replace(
        split, labels=np.zeros((3, 1), np.int8), label_names=("cat",)
    )
    with pytest.raises(ValueError, match="in one only: dog"):
        run_splits.check_labels(changed, NAMES)


@pytest.mark.parametrize(
    "changes", [{"val_split": "val"}, {"report_split": "train", "val_split": "val"}]
)
def test_an_image_in_two_splits_is_refused(squares, changes):
    settings = Config.of(dataset="csv", data_dir=str(squares), **changes)
    if changes == {"val_split": "val"}:
        expected = "selection and report share images.*16"
    else:
        expected = "train and report share images.*40"
    with pytest.raises(ValueError, match=expected):
        run_splits.load(settings)


def test_selection_by_map_needs_validation_images_with_labels(squares, tmp_path):
    folder = shutil.copytree(squares, tmp_path / "data")
    rows = [f"val{i}.png," for i in range(16)]
    (folder / "test.csv").write_text((folder / "val.csv").read_text())
    (folder / "val.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    for i in range(16):
        shutil.copy(folder / f"val{i}.png", folder / f"test{i}.png")
    text = (folder / "test.csv").read_text().replace("val", "test")
    (folder / "test.csv").write_text(text)
    settings = Config.of(dataset="csv", data_dir=str(folder), select_by="mAP")
    with pytest.raises(ValueError, match="cannot be selected by mAP"):
        run_splits.load(settings)
