"""Answers to the images of a batch: records, or reasons."""

import importlib.util
import pathlib

import pytest

from ram_tf.serving.batch.answers import Image, answer
from ram_tf.serving.predict_files import predict
from ram_tf.serving.predictor import Predictor
from tests.support.batch_inputs import REASONS, mixed, write_broken


@pytest.fixture(scope="module")
def images(squares, tmp_path_factory):
    return mixed(squares, write_broken(tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def answers(images, local):
    return [*answer([*map(Image.read, images)], local)]


def test_each_image_has_its_answer_in_order(images, answers):
    assert [each["image"] for each in answers] == images
    for path, each in zip(images, answers, strict=True):
        reason = REASONS.get(pathlib.Path(path).name)
        assert each.get("reason") == reason
        assert ("valid" in each) == (reason is None)
        assert each.get("detail", "why")


def test_records_are_those_of_predict(images, answers, local):
    found = [each for each in answers if "valid" in each]
    expected = list(predict(local, [each["image"] for each in found]))
    for record, line in zip(found, expected, strict=True):
        assert record.keys() == line.keys()
        assert record["labels"] == line["labels"]
        for name in ("scores", "probabilities", "boxes"):
            for key, value in line[name].items():
                assert record[name][key] == pytest.approx(value, abs=1e-4)


def test_a_threshold_takes_the_place_of_the_models(images, local):
    image = Image.read(images[0])
    for threshold, count in ((0, 3), (1.1, 0)):
        (found,) = answer([image], local, threshold)
        assert len(found["labels"]) == count


def test_a_model_on_another_storage_is_copied_and_loaded(version, images, answers):
    model = Predictor.load(f"file://{version}")
    (found,) = answer([Image.read(images[0])], model)
    assert found["scores"] == pytest.approx(answers[0]["scores"], abs=1e-5)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("file:///no/such/folder", "nothing to fetch"),
        ("nowhere://bucket/model", "Protocol not known: nowhere"),
        ("s3://bucket/model", "Install s3fs"),
    ],
)
def test_a_model_that_cannot_be_fetched_is_named_in_a_sentence(folder, message):
    if folder.startswith("s3") and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(OSError, match=message) as caught:
        Predictor.load(folder)
    assert f"Received: {folder}" in str(caught.value)


def test_an_image_on_a_storage_that_fails_is_a_reading_error():
    image = Image.read("nowhere://a.jpg")
    assert image.failure.reason == "reading error"
    assert "Protocol not known: nowhere" in image.failure.detail
