"""Tests the images, labels and order of the input pipelines."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ram_tf.data.augmentation import Place, cut
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.decoding import decode_image
from ram_tf.data.images.resizing import (
    centre_crop,
    prepare_image,
    resize,
    resize_and_crop,
)
from ram_tf.data.pipelines import evaluation_pipeline, training_pipeline
from ram_tf.data.scan import find_unreadable
from ram_tf.data.split import Split, epoch_order
from tests.support.image_files import encode, noise, smooth


@pytest.mark.parametrize("shape", [(20, 30), (1, 1), (48, 40), (48, 48)])
def test_enlarging_is_the_same_without_antialiasing(shape):
    image = noise(*shape)
    smoothed = tf.image.resize(image, (48, 48), antialias=True)
    np.testing.assert_allclose(resize(image, 48), smoothed, atol=2e-3)


def test_resize_to_the_same_size_changes_nothing():
    image = noise(6, 6)
    np.testing.assert_allclose(resize(image, 6), image, atol=1e-4)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((64, 64, 3), "uint8")
    stripes[:, ::4] = 255  # every fourth pixel alone would be all white or all black
    shrunk = resize(stripes, 16).numpy()
    np.testing.assert_allclose(shrunk[4:-4, 4:-4], 255 / 4, atol=8)


@pytest.mark.parametrize("shape", [(300, 200), (70, 30), (20, 31)])
@pytest.mark.parametrize("place", [Place(0, 24), Place(7, 3, True), Place(16, 0)])
def test_a_crop_is_the_same_without_resizing_the_whole_image(shape, place):
    image = noise(*shape)
    expected = cut(resize(image, 64), 40, place)
    actual = resize_and_crop(image, 64, 40, place)
    np.testing.assert_allclose(actual, expected, atol=255e-4)


def test_centre_crop_leaves_the_same_margin_on_all_sides():
    image = np.arange(8 * 8 * 3).reshape(1, 8, 8, 3)
    np.testing.assert_array_equal(centre_crop(image, 4), image[:, 2:6, 2:6])


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(encode(smooth(30, 20), "JPEG"), id="jpeg"),
        pytest.param(encode(noise(30, 50)), id="png"),
        pytest.param(encode(noise(1, 1)), id="one pixel"),
    ],
)
def test_prepare_image_is_the_same_eagerly_and_inside_tf_data(encoded):
    eager = prepare_image(decode_image(encoded), 24, 16)
    assert eager.shape == (16, 16, 3)
    assert eager.dtype == tf.float32
    (mapped,) = tf.data.Dataset.from_tensors(encoded).map(
        lambda content: prepare_image(decode_image(content), 24, 16)
    )
    np.testing.assert_allclose(mapped, eager, atol=1e-4)
    assert mapped.numpy().min() >= 0
    assert mapped.numpy().max() <= 255


def test_prepare_image_of_one_pixel_has_its_colour():
    encoded = encode(np.array([[[10, 200, 30]]], "uint8"))
    expected = np.broadcast_to([10.0, 200.0, 30.0], (16, 16, 3))
    image = decode_image(encoded)
    np.testing.assert_allclose(prepare_image(image, 24, 16), expected, atol=1e-3)


def test_zoomed_crops_are_cut_from_larger_images(split):
    zoomed = training_pipeline(split, 12, 10, False, 1, range(2), 0, zooms=(2.0,))
    for image, label in zoomed.as_numpy_iterator():
        whole = resize(decode_image(split.images[label.argmax()]), 24).numpy()
        windows = np.lib.stride_tricks.sliding_window_view(whole, (10, 10), (0, 1))
        differences = np.abs(windows - image[0].transpose(2, 0, 1)).max((2, 3, 4))
        assert differences.min() < 1e-4
        assert image.shape == (1, 10, 10, 3)


@pytest.mark.parametrize("count", [1, 7, 100])
def test_an_epochs_order_is_a_permutation(count):
    assert sorted(epoch_order(count, 3, 5)) == list(range(count))


def test_an_epochs_order_depends_on_seed_and_epoch_alone():
    orders = [
        tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)
    ]
    assert len(set(orders)) == 9
    np.testing.assert_array_equal(epoch_order(50, 1, 2), orders[1 * 3 + 2])


COUNT = 10


@pytest.fixture(scope="module")
def split():
    """Returns noise images whose labels are the indices of the images."""
    return Split(
        images=tuple(encode(noise(12, 12, seed=i)) for i in range(COUNT)),
        names=tuple(f"{i}.png" for i in range(COUNT)),
        labels=np.eye(COUNT, dtype=np.int8),
        label_names=tuple(f"label {i}" for i in range(COUNT)),
    )


def train(split, epochs, seed=0, batch_size=2, flip=True):
    """Returns the training images and their indices, in order."""
    data = training_pipeline(split, 12, 10, flip, batch_size, epochs, seed)
    images, labels = zip(*data.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels).argmax(1)


def test_training_is_reproducible_by_seed(split):
    for first, second in zip(
        train(split, range(2)), train(split, range(2)), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_another_seed_trains_in_another_order_and_on_other_crops(split):
    (images, order), (others, other_order) = (
        train(split, range(1), seed) for seed in (0, 1)
    )
    assert list(order) != list(other_order)
    same = [
        np.array_equal(images[order == i], others[other_order == i])
        for i in range(COUNT)
    ]
    assert sum(same) < COUNT / 2  # of 18 crops


def test_an_epoch_contains_every_image_once_in_its_order(split):
    _, order = train(split, range(3))
    for epoch, indices in enumerate(order.reshape(3, COUNT)):
        assert sorted(indices) == list(range(COUNT))
        np.testing.assert_array_equal(indices, epoch_order(COUNT, 0, epoch))


def test_the_parts_of_all_workers_add_up_to_the_batches_of_one_device(split):
    workers, devices, batch_size = 2, 2, 8
    whole = training_pipeline(split, 12, 10, True, batch_size, range(2), 0)
    parts = [
        list(
            training_pipeline(
                split,
                12,
                10,
                True,
                batch_size,
                range(2),
                0,
                context=tf.distribute.InputContext(workers, worker, workers * devices),
            )
        )
        for worker in range(workers)
    ]
    steps = list(whole)
    assert [len(part) for part in parts] == [devices * len(steps)] * workers
    for step, batch in enumerate(steps):
        mine = slice(devices * step, devices * (step + 1))
        shared = [piece for part in parts for piece in part[mine]]
        for one, pieces in zip(batch, zip(*shared, strict=True), strict=True):
            np.testing.assert_array_equal(one, np.concatenate(pieces))


def test_epochs_differ_in_order_and_in_crops(split):
    images, order = train(split, range(2))
    order, images = order.reshape(2, COUNT), images.reshape(2, COUNT, 10, 10, 3)
    assert list(order[0]) != list(order[1])
    same = [
        np.array_equal(images[0][order[0] == i], images[1][order[1] == i])
        for i in range(COUNT)
    ]
    assert sum(same) < COUNT / 2


def test_each_image_of_an_epoch_has_its_own_crop(split):
    same = dataclasses.replace(split, images=split.images[:1] * COUNT)
    images, _ = train(same, range(1), flip=False)
    assert len(np.unique(images, axis=0)) > COUNT / 3  # of 9 crops


def test_each_image_of_each_epoch_has_its_own_colour_jitter(split):
    same = dataclasses.replace(split, images=split.images[:1] * COUNT)

    def jittered(strength):
        data = training_pipeline(
            same, 12, 12, False, 1, range(2), 0, colour_jitter=strength
        )
        return np.concatenate([images for images, _ in data.as_numpy_iterator()])

    assert len(np.unique(jittered(0.0), axis=0)) == 1
    assert len(np.unique(jittered(0.4), axis=0)) == 2 * COUNT
    np.testing.assert_array_equal(jittered(0.4), jittered(0.4))


@pytest.mark.parametrize("flip", [True, False])
def test_training_flips_some_images_if_flip_is_set(split, flip):
    data = training_pipeline(split, 12, 12, flip, 1, range(3), 0)
    mirrored = 0
    for (image,), (row,) in data.as_numpy_iterator():
        whole = noise(12, 12, seed=row.argmax())
        mirrored += np.allclose(image, whole[:, ::-1], atol=1e-3)
        assert np.allclose(image, whole, atol=1e-3) or flip
    assert (5 < mirrored < 25) if flip else mirrored == 0


def test_images_keep_their_labels(split):
    images, order = train(split, range(1), flip=False)
    for image, i in zip(images, order, strict=True):
        whole = noise(12, 12, seed=i)
        crops = [whole[t : t + 10, le : le + 10] for t in range(3) for le in range(3)]
        assert any(np.allclose(image, crop, atol=1e-3) for crop in crops)


def test_a_resumed_run_has_the_batches_of_an_uninterrupted_one(split):
    images, order = train(split, range(4), batch_size=3)
    tail_images, tail_order = train(split, range(2, 4), batch_size=3)
    assert len(tail_order) == len(order) // 2
    np.testing.assert_array_equal(tail_order, order[len(order) // 2 :])
    np.testing.assert_array_equal(tail_images, images[len(order) // 2 :])


def test_the_dropped_images_differ_between_epochs(split):
    _, order = train(split, range(4), batch_size=4)
    assert len(order) == 4 * 8
    left = [tuple(np.setdiff1d(range(COUNT), used)) for used in order.reshape(4, 8)]
    assert len(set(left)) > 1


def test_training_batches_have_static_shapes(split):
    images, labels = training_pipeline(split, 12, 10, True, 4, range(1), 0).element_spec
    assert images.shape.as_list() == [4, 10, 10, 3]
    assert labels.shape.as_list() == [4, COUNT]
    assert images.dtype == tf.float32


def test_evaluation_contains_every_prepared_image_once_in_order(split):
    pipeline = evaluation_pipeline(split, [12], [8], 4).as_numpy_iterator()
    batches = [images for (images,) in pipeline]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    expected = [prepare_image(decode_image(image), 12, 8) for image in split.images]
    np.testing.assert_allclose(np.concatenate(batches), expected, atol=1e-4)


@pytest.fixture(scope="module")
def boxed():
    """Returns black images with a white box each, which is also a proposal."""
    rng = np.random.default_rng(0)
    images, proposals = [], []
    for _ in range(COUNT):
        top, left = rng.integers(4, 8, 2)
        bottom, right = rng.integers(11, 15, 2)
        image = np.zeros((20, 20, 3), "uint8")
        image[top:bottom, left:right] = 255
        images.append(encode(image))
        proposals.append([[top, left, bottom, right], [0, 0, 20, 20]])
    return Split(
        images=tuple(images),
        names=tuple(f"{i}.png" for i in range(COUNT)),
        labels=np.eye(COUNT, dtype=np.int8),
        label_names=tuple(f"label {i}" for i in range(COUNT)),
        proposals=np.array(proposals, "float32") / 20,
    )


def white(image):
    """Returns the box of the white pixels, as fractions of the image."""
    rows, columns = np.nonzero(image[..., 0] > 128)
    ends = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    return np.array(ends) / len(image)


@pytest.mark.parametrize("flip", [True, False])
def test_proposals_follow_the_crops_and_flips_of_training(boxed, flip):
    data = training_pipeline(boxed, 20, 16, flip, 2, range(3), 0)
    places = set()
    for (images, boxes), _ in data.as_numpy_iterator():
        for image, (box, whole) in zip(images, boxes, strict=True):
            np.testing.assert_allclose(box, white(image), atol=1e-5)
            assert whole[2] - whole[0] == pytest.approx(20 / 16)
            places.add(tuple(whole))
    assert len(places) > 10  # of 25 corners


def test_proposals_follow_zoomed_crops(boxed):
    data = training_pipeline(boxed, 20, 16, True, 2, range(3), 0, zooms=(1.0, 1.2))
    edges = set()
    for (_, boxes), _ in data.as_numpy_iterator():
        edges |= set(np.round(16 * (boxes[:, 1, 2] - boxes[:, 1, 0])))
    assert edges == {20, 24}


def test_proposals_do_not_change_the_training_images(boxed):
    plain = dataclasses.replace(boxed, proposals=None)
    pairs = zip(
        training_pipeline(boxed, 20, 16, True, 2, range(2), 0).as_numpy_iterator(),
        training_pipeline(plain, 20, 16, True, 2, range(2), 0).as_numpy_iterator(),
        strict=True,
    )
    for ((images, _), labels), (expected, expected_labels) in pairs:
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, expected_labels)


def test_proposals_follow_the_centre_crops_of_evaluation(boxed):
    for images, boxes in evaluation_pipeline(boxed, [20], [16], 4).as_numpy_iterator():
        for image, (box, whole) in zip(images, boxes, strict=True):
            np.testing.assert_allclose(box, white(image), atol=1e-5)
            np.testing.assert_allclose(whole, [-1 / 8, -1 / 8, 9 / 8, 9 / 8])


def test_proposals_of_whole_images_do_not_change(boxed):
    batches = evaluation_pipeline(boxed, [20, 24], [20, 24], 4).as_numpy_iterator()
    boxes = [boxes for _, _, boxes in batches]
    np.testing.assert_array_equal(np.concatenate(boxes), boxed.proposals)


def on_disk(split, folder):
    paths = tuple(str(folder / name) for name in split.names)
    for path, image in zip(paths, split.images, strict=True):
        with open(path, "wb") as file:
            file.write(image)
    return Split(paths, split.names, split.labels, split.label_names)


def test_files_train_like_their_bytes(split, tmp_path):
    for first, second in zip(
        train(split, range(1)), train(on_disk(split, tmp_path), range(1)), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_unreadable_files_are_found(split, tmp_path):
    files = on_disk(split, tmp_path)
    (tmp_path / "2.png").write_text("no image")
    (tmp_path / "5.png").write_bytes(split.images[5][:100])
    (tmp_path / "9.png").unlink()
    assert list(find_unreadable(files)) == [2, 5, 9]


def test_unreadable_bytes_and_too_large_images_are_found(split):
    images = (b"", *split.images[1:-1], encode(noise(30, 30)))
    bad = Split(images, split.names, split.labels, split.label_names)
    assert list(find_unreadable(bad, max_pixels=200)) == [0, COUNT - 1]
    assert list(find_unreadable(split)) == []


def test_read_files_yields_the_bytes_of_files_and_of_memory(split, tmp_path):
    files = on_disk(split, tmp_path)
    for some in (split, files):
        assert tuple(read_files(some)) == split.images
