"""Tests EdgeBoxes on simple images, and a run that uses its proposals."""

import dataclasses
import itertools
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ram_tf.evaluation import infer_split, svm
from ram_tf.evaluation.ensemble import ViewSettings, ensemble_view
from ram_tf.metrics import multi_label
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits import proposals, run_splits
from ram_tf.runs.splits.proposals import edge_boxes, edge_map, propose
from ram_tf.serving.formats.export import export
from ram_tf.serving.predictor import Predictor
from ram_tf.training import two_steps
from tests.support.small_settings import SMALL


def small_config(data_dir, **changes):
    return SMALL.replace(data_dir=str(data_dir), **changes)


def square(top, left, bottom, right, size=(100, 100)):
    image = np.zeros((*size, 3), "uint8")
    image[top:bottom, left:right] = 255
    return image


def noise(seed, size=(120, 160)):
    """An image of coloured rectangles, with many possible boxes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), "uint8")
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BOX))


def overlap(one, other):
    height, width = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = max(height, 0) * max(width, 0)
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return both / (sum(areas) - both)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((30, 20, 70, 80), (100, 100)),
        ((5, 60, 40, 95), (100, 100)),
        ((100, 300, 250, 500), (400, 600)),
    ],
)
def test_a_white_square_on_black_is_the_first_proposal(box, size):
    found = edge_boxes(square(*box, size))
    expected = np.array(box) / [*size, *size]
    assert overlap(found[0], expected) > 0.7


def test_two_proposals_overlap_by_less_than_the_limit():
    for seed in range(3):
        found = edge_boxes(noise(seed), 20)
        found = found[(found != proposals.WHOLE_IMAGE).any(1)]
        assert len(found) > 5
        for one, other in itertools.combinations(found, 2):
            assert overlap(one, other) <= proposals.OVERLAP + 1e-6


def test_fewer_proposals_are_the_first_of_more():
    image = noise(0)
    np.testing.assert_array_equal(edge_boxes(image, 3), edge_boxes(image, 8)[:3])


@pytest.mark.parametrize("size", [(100, 100), (1, 300), (300, 1), (1, 1)])
def test_without_edges_every_proposal_is_the_whole_image(size):
    plain = np.full((*size, 3), 90, "uint8")
    assert edge_boxes(plain, 4, pad=False).shape == (0, 4)
    found = edge_boxes(plain, 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [proposals.WHOLE_IMAGE] * 4)


def test_edge_directions_are_those_of_the_gradient():
    y, x = np.mgrid[-50:50, -50:50]
    disc = np.where(x**2 + y**2 < 30**2, 200, 50).astype("uint8")
    strength, direction = edge_map(np.repeat(disc[..., None], 3, -1))
    rows, columns = np.nonzero(strength)
    # A thin ring, whose normals pass through its centre.
    assert abs(np.hypot(columns - 50, rows - 50) - 30).max() < 2
    assert 150 < len(rows) < 300
    normal = np.arctan2(rows - 49.5, columns - 49.5)
    off = (direction[rows, columns] - normal + np.pi / 2) % np.pi - np.pi / 2
    assert abs(off).max() < 0.2


def test_edges_are_relative_to_the_contrast_of_the_image():
    image = square(30, 20, 70, 80)
    strong = (edge_map(image)[0] > 0.5).sum()
    assert strong > 100
    for faint in (image // 8, 255 - image // 8):
        assert (edge_map(faint)[0] > 0.5).sum() == pytest.approx(strong, rel=0.05)


@pytest.fixture(scope="module")
def splits(squares):
    return run_splits.load(small_config(squares))


def test_proposals_of_a_split_are_those_of_its_images(splits, tmp_path):
    split = splits.train.take(range(6))
    found = propose(split, tmp_path, 2, 10**6).proposals
    for path, boxes in zip(split.images, found, strict=True):
        image = np.asarray(Image.open(path))
        np.testing.assert_array_equal(boxes, edge_boxes(image, 2))


def test_proposals_are_computed_once_for_each_image(splits, tmp_path, monkeypatch):
    computed = []
    original = proposals._propose
    monkeypatch.setattr(
        proposals, "_propose", lambda *a: computed.append(a[0]) or original(*a)
    )
    first = propose(splits.train.take(range(4)), tmp_path, 2, 10**6)
    again = propose(splits.train.take([5, 3, 0]), tmp_path, 2, 10**6)
    assert sorted(computed) == sorted(splits.train.images[i] for i in (0, 1, 2, 3, 5))
    np.testing.assert_array_equal(again.proposals[1:], first.proposals[[3, 0]])
    # Another number of proposals has another cache.
    propose(splits.train.take([0]), tmp_path, 1, 10**6)
    assert len(computed) == 6


def test_an_interrupted_call_caches_its_proposals(splits, tmp_path, monkeypatch):
    split = splits.train.take(range(5))
    original = proposals._propose

    def interrupted(image, *arguments):
        if image == split.images[3]:
            raise KeyboardInterrupt
        return original(image, *arguments)

    def one_by_one(*_, **__):
        """`joblib.Parallel` in order, so that it is certain which came before."""
        return lambda tasks: (call(*args, **kwargs) for call, args, kwargs in tasks)

    monkeypatch.setattr(proposals.joblib, "Parallel", one_by_one)
    monkeypatch.setattr(proposals, "_propose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        propose(split, tmp_path, 2, 10**6)
    with np.load(tmp_path / "proposals-2.npz") as kept:
        assert kept["boxes"].shape == (3, 2, 4)


def test_without_opencv_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"opencv-contrib.*\[proposals\]"):
        edge_boxes(square(30, 20, 70, 80))


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    """A short run that uses proposals, and its test split."""
    settings = small_config(squares, region_source="proposals")
    splits = run_splits.load(settings)
    folder = tmp_path_factory.mktemp("runs") / "proposals"
    run = Run.start(folder, settings, splits.train.label_names)
    train, selection = (proposals.for_run(run, split) for split in splits[:2])
    two_steps.train(run, train, selection)
    return run, splits.report


def test_a_run_on_proposals_has_no_localisation_loss(trained):
    run, _ = trained
    lines = (run.folder / "step2" / "history.csv").read_text().splitlines()
    row = dict(zip(*(line.split(",") for line in lines), strict=True))
    assert float(row["localization"]) == 0
    assert float(row["classification"]) > 0
    assert float(row["val_loss"]) == pytest.approx(float(row["val_classification"]))


def test_a_run_on_proposals_has_no_localisation_weights(trained):
    run, _ = trained
    model = run_models.load_attention(run)
    assert not any("W_zm" in v.path or "b_m" in v.path for v in model.variables)
    assert len(model.trainable_variables) > 10


def test_a_run_is_evaluated_on_the_proposals_of_the_split(trained):
    run, report = trained
    result = infer_split.evaluate_runs([run], report, run.config, ViewSettings())
    model = run_models.load_attention(run)
    split = proposals.for_run(run, report)
    boxes = split.proposals
    assert boxes.shape == (16, 2, 4)
    whole = (boxes - 0.5) * 40 / 32 + 0.5  # from the image to its centre crop of 32
    images = [
        np.asarray(Image.open(path), "float32")[4:36, 4:36] for path in report.images
    ]
    expected = model((np.stack(images), tf.constant(whole)))
    outputs = infer_split.infer(run_models.view(run, model), split, run.config)
    np.testing.assert_allclose(outputs["scores"], expected["scores"], atol=1e-4)
    np.testing.assert_allclose(outputs["boxes"], boxes, atol=1e-5)
    json.dumps(result, allow_nan=False)
    assert result["images"] == 16
    assert (run.folder.parent / "proposals-2.npz").is_file()


@pytest.mark.slow
def test_a_run_on_proposals_has_svms_in_one_view_but_not_in_ten(trained):
    run, report = trained
    views = ViewSettings(source="features", svm=True)
    result = infer_split.evaluate_runs([run], report, run.config, views)
    fitted = svm.OneVsRestSVM.load(run.svm)
    view = ensemble_view([run], views)
    described = infer_split.infer(view, proposals.for_run(run, report), run.config)
    scores = fitted.postprocess(described)["probabilities"].numpy()
    expected = multi_label.mean_average_precision(report.labels, scores)
    assert result["mAP"] == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"centre view only.*count=10"):
        infer_split.evaluate_runs(
            [run], report, run.config, dataclasses.replace(views, count=10)
        )


def test_a_run_on_proposals_can_be_neither_exported_nor_served(trained, tmp_path):
    run, report = trained
    view = run_models.served_view(run, run_models.load_attention(run))
    with pytest.raises(ValueError, match="its graph cannot compute"):
        export(view, run, tmp_path / "saved")
    assert not any((tmp_path / "saved").iterdir())
    with open(report.images[0], "rb") as file, pytest.raises(ValueError, match="graph"):
        Predictor.load(run.folder)([file.read()])
