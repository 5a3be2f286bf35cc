"""Tests the division of images with each label in its share."""

import numpy as np
import pytest

from ram_tf.data import stratification


def random_labels(seed, images=120, names=12):
    """Labels of which some are rare, and -1 for some unknown ones."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.02, 0.5, names)
    labels = (rng.random((images, names)) < shares).astype(np.int8)
    return np.where(rng.random(labels.shape) < 0.1, -1, labels)


@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_in_one_part_of_the_asked_size(seed):
    labels = random_labels(seed)
    parts = stratification.divide(labels, (96, 12, 12), seed)
    assert [len(part) for part in parts] == [96, 12, 12]
    assert sorted(np.concatenate(parts)) == list(range(120))
    assert all((np.diff(part) > 0).all() for part in parts)


@pytest.mark.parametrize("counts", [(96, 12, 12), (108, 12)])
@pytest.mark.parametrize("seed", range(5))
def test_a_label_with_two_positives_is_in_training_and_validation(seed, counts):
    labels = random_labels(seed) > 0
    train, val, *_ = stratification.divide(labels, counts, seed)
    enough = labels.sum(0) >= 2
    assert labels[train].any(0)[enough].all()
    assert labels[val].any(0)[enough].all()


def test_a_label_with_one_positive_is_trained_on():
    labels = np.zeros((50, 5), int)
    labels[np.arange(5), np.arange(5)] = 1
    train, *_ = stratification.divide(labels, (40, 5, 5), 0)
    assert labels[train].any(0).all()


def test_a_common_label_has_its_share_in_each_part():
    labels = np.repeat(np.eye(4, dtype=int), [400, 300, 200, 100], axis=0)
    parts = stratification.divide(labels, (800, 100, 100), 3)
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        wanted = share * np.array([400, 300, 200, 100])
        np.testing.assert_allclose(labels[part].sum(0), wanted, atol=1)


def test_images_are_exchanged_for_labels_that_validation_lacks():
    # Each of the first two images could give validation one label, the third both.
    labels = np.zeros((20, 3), int)
    labels[[0, 2, 4], 0] = labels[[1, 2, 5], 1] = 1
    for seed in range(20):
        _, val, _ = stratification.divide(labels, (18, 1, 1), seed)
        assert labels[val].any(0)[:2].all()


def test_the_division_depends_on_the_seed_alone():
    labels = random_labels(0)
    first, again, other = (
        stratification.divide(labels, (100, 20), seed)[1].tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_parts_may_be_empty():
    parts = stratification.divide(random_labels(0), (120, 0, 0), 0)
    assert [len(part) for part in parts] == [120, 0, 0]


@pytest.mark.parametrize("counts", [(1, 2, 1), (4, -1, 0)])
def test_invalid_sizes_are_refused(counts):
    with pytest.raises(ValueError, match="3 images together"):
        stratification.divide(np.zeros((3, 1)), counts, 0)
