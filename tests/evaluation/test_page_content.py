"""Tests the texts and drawings of the web page."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ram_tf.data.drawing import colour
from ram_tf.evaluation.web_page.page_content import (
    PictureResult,
    bars,
    describe_label,
    draw_region_scores,
    draw_result,
    draw_steps,
    predict_picture,
    summarize,
)
from ram_tf.metrics.calibration import CalibratedView, Calibration
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from tests.support.small_settings import SMALL

LABELS = ("blue", "green", "red")
GROUND = 120  # a grey that no line, letter or palette colour has


def predictor_of(folder, temperature=1.0, **settings):
    run = Run(folder, SMALL.replace(**settings), LABELS)
    model = run_models.build_attention(
        run,
        run_models.build_pooled(run, "average"),
    )
    calibration = Calibration(temperature, (0.5,) * len(LABELS))
    return Predictor.of(CalibratedView(run_models.view(run, model), calibration), run)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return predictor_of(tmp_path_factory.mktemp("run"), 2.5, max_pixels=3_000_000)


@pytest.fixture(scope="module")
def photo(squares):
    return squares / "val0.png"


@pytest.fixture
def two_regions():
    """Two regions side by side; the right one predicts cat, the left one dog."""
    return PictureResult(
        image=np.full((100, 200, 3), GROUND, "uint8"),
        boxes=np.array([[0.2, 0.1, 0.8, 0.4], [0.2, 0.6, 0.8, 0.9]]),
        probabilities=np.array([0.3, 0.75, 0.6]),
        region_scores=np.array([[-2.0, 0.5, 1.5], [-1.0, 3.0, -0.5]]),
        region_probabilities=np.array([[0.1, 0.62, 0.8], [0.26, 0.95, 0.37]]),
        label_names=("bird", "cat", "dog"),
        thresholds=np.array([0.2, 0.8, 0.6]),
        per_step=1,
        joint=False,
    )


def columns_in(picture, ink):
    """Returns the first and last column with a colour, as shares of the width."""
    columns = np.flatnonzero((np.asarray(picture) == ink).all(-1).any(0))
    return columns[[0, -1]] / picture.width


def test_labels_are_sorted_and_marked_from_their_own_threshold_on(two_regions):
    assert list(bars(two_regions).items()) == [
        ("cat", 0.75),
        ("✓ dog", 0.6),
        ("✓ bird", 0.3),
    ]
    assert summarize(two_regions) == "2 of 3 labels predicted from 2 regions."


def test_the_picture_of_a_label_has_the_box_of_its_best_region(two_regions):
    for label, region in ((1, 1), (2, 0)):
        picture = draw_result(two_regions, label).crop((0, 0, 800, 400))
        _, left, _, right = two_regions.boxes[region]
        found = columns_in(picture, colour(region))
        np.testing.assert_allclose(found, [left, right], atol=0.01)
        assert not (np.asarray(picture) == colour(1 - region)).all(-1).any()


def test_the_first_picture_has_the_boxes_of_predicted_labels_only(two_regions):
    none = two_regions._replace(thresholds=np.ones(3))
    for result, expected in ((two_regions, {0, 1}), (none, set())):
        picture = np.asarray(draw_result(result))
        found = {r for r in (0, 1) if (picture == colour(r)).all(-1).any()}
        assert found == expected


def test_regions_are_in_order_with_their_best_labels(two_regions):
    (first, second), (left, right) = zip(*draw_steps(two_regions), strict=True)
    assert (left, right) == ("1: dog (80%), cat (62%)", "2: cat (95%), dog (37%)")
    for region, picture in enumerate((first, second)):
        found = columns_in(picture, colour(region))
        expected = two_regions.boxes[region][[1, 3]]
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_plot_shows_each_score_and_the_highest_so_far(two_regions):
    axes = draw_region_scores(two_regions, 2).axes[0]
    points, ring = (np.asarray(c.get_offsets()) for c in axes.collections)
    np.testing.assert_array_equal(points, [[1, 1.5], [2, -0.5]])
    np.testing.assert_array_equal(ring, [[1, 1.5]])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.5, 1.5])


def test_a_label_is_described_by_its_probability_and_its_best_region(two_regions):
    text = describe_label(two_regions, 1)
    assert text == (
        "cat: 75.0%, predicted from 80.0% on. Region 2 of 2 has its highest score."
    )
    assert "all views and SVMs" in describe_label(two_regions._replace(joint=True), 1)


def test_a_label_has_the_probability_of_its_best_region(predictor, photo):
    result = predict_picture(predictor, photo.read_bytes())
    np.testing.assert_allclose(
        result.region_probabilities.max(0), result.probabilities, atol=1e-6
    )
    # Without the temperature of 2.5 they would not be.
    assert not np.allclose(
        tf.sigmoid(result.region_scores), result.region_probabilities, atol=1e-4
    )


def test_several_views_or_svms_make_probabilities_joint(predictor, photo):
    plain = predictor.about
    for more, joint in (({}, False), ({"views": 5}, True), ({"svm": True}, True)):
        changed = Predictor(
            predictor.serve, predictor.config, LABELS, {**plain, **more}
        )
        assert predict_picture(changed, photo.read_bytes()).joint == joint


def test_the_best_region_of_a_label_is_that_of_predict(predictor, photo):
    result = predict_picture(predictor, photo.read_bytes())
    (line,) = predict(predictor, [photo], threshold=0.0)
    for label, name in enumerate(LABELS):
        box = result.boxes[result.best_region(label)]
        np.testing.assert_allclose(box, line["boxes"][name], atol=1e-4)


def test_a_file_that_is_no_picture_or_too_large_is_refused(predictor, photo):
    large = io.BytesIO()
    Image.new("RGB", (2000, 1501)).save(large, "PNG")
    half = photo.read_bytes()[:-60]
    for encoded in (b"", b"this is text", half, large.getvalue()):
        with pytest.raises(ValueError, match="at most 3,000,000 pixels") as refusal:
            predict_picture(predictor, encoded)
        assert f"Received: {len(encoded):,} bytes, " in str(refusal.value)


def test_a_large_picture_is_downscaled_with_its_aspect_ratio(predictor):
    large = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(large, "PNG")
    assert predict_picture(predictor, large.getvalue()).image.shape == (640, 1280, 3)


def test_captions_and_colours_of_rarl_show_the_step_of_each_region(photo, tmp_path):
    rarl = predictor_of(tmp_path, model="rarl", steps=2)
    result = predict_picture(rarl, photo.read_bytes())
    captions = [caption for _, caption in draw_steps(result)]
    assert len(captions) == 18
    assert captions[8].startswith("9, step 1: ")
    assert captions[9].startswith("10, step 2: ")
    # Many boxes would hide the picture, so only one is drawn: the fourteenth region, of
    # the second step.
    scores = result.region_scores.copy()
    scores[13, 0] = scores.max() + 1
    grey = result._replace(
        image=np.full((96, 96, 3), GROUND, "uint8"), region_scores=scores
    )
    picture = np.asarray(draw_result(grey, 0))[:800]
    inks = {tuple(ink) for ink in picture.reshape(-1, 3).tolist()}
    assert inks >= {(GROUND,) * 3, colour(1)}
    assert colour(13) not in inks
    image, _ = draw_steps(grey)[13]
    assert colour(1) in {tuple(i) for i in np.asarray(image).reshape(-1, 3).tolist()}
    assert (64,) * 3 not in inks
