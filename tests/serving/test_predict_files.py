"""Predictions for image files, and the example files of a run."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from ram_tf.data.drawing import colour
from ram_tf.metrics.calibration import Calibration
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.runs.splits.run_splits import load_split
from ram_tf.serving.formats.export import export
from ram_tf.serving.image_search import find_images
from ram_tf.serving.predict_files import predict, to_record
from ram_tf.serving.predictor import Predictor
from ram_tf.serving.run_examples import write_examples
from ram_tf.storage.atomic_files import write_with_checksum
from tests.support.image_files import encode, noise
from tests.support.small_settings import SMALL

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    return untrained(squares, tmp_path_factory.mktemp("run"))


def untrained(squares, folder, **changes):
    settings = SMALL.replace(data_dir=str(squares), **changes)
    run = Run.start(folder, settings, LABELS)
    keras.utils.set_random_seed(1)
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    run_models.build_attention(run, pooled).save_weights(run.model_weights)
    return run


def lines(predictor, paths, *arguments, **named):
    return list(predict(predictor, paths, *arguments, **named))


def test_run_and_saved_model_predict_the_same(run, squares, tmp_path):
    version = export(
        run_models.view(run, run_models.load_attention(run)), run, tmp_path
    )
    paths = [squares / "val0.png", squares / "val1.png"]
    by_run, by_version = (
        lines(Predictor.load(folder), paths) for folder in (run.folder, version)
    )
    for one, other in zip(by_run, by_version, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert one["labels"] == other["labels"]


def test_a_record_has_the_labels_above_the_threshold_with_their_boxes(run, squares):
    predictor = Predictor.load(run.folder)
    (line,) = lines(predictor, [squares / "val0.png"], threshold=0.5)
    above = {name for name, p in line["probabilities"].items() if p >= 0.5}
    assert set(line["labels"]) == set(line["boxes"]) == above
    assert set(line["scores"]) == set(LABELS)
    (all_named,) = lines(predictor, [squares / "val0.png"], threshold=0.0)
    values = [all_named["probabilities"][name] for name in all_named["labels"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(LABELS)


def test_a_label_has_the_box_of_the_region_with_its_highest_score():
    outputs = {
        "valid": True,
        "scores": np.array([1.0, 2.0]),
        "probabilities": np.array([0.7, 0.9]),
        "region_scores": np.array([[1.0, 0.0], [0.5, 2.0]]),
        "boxes": np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 1.0]]),
    }
    record = to_record("a.png", outputs, ("cat", "dog"), 0.5)
    assert record["labels"] == ["dog", "cat"]  # the most probable first
    assert record["boxes"]["cat"] == [0, 0, 0.5, 0.5]
    assert record["boxes"]["dog"] == [0.25, 0.25, 1, 1]


def test_an_unreadable_image_has_a_record_and_no_picture(run, squares, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"this is text")
    paths = [broken, squares / "val0.png"]
    found = lines(Predictor.load(run.folder), paths, tmp_path / "out")
    assert [line["valid"] for line in found] == [False, True]
    assert json.loads(json.dumps(found))[0]["labels"] == []
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["val0.png"]


def test_images_of_the_same_name_get_different_pictures(run, squares, tmp_path):
    again = tmp_path / "val0.png"
    again.write_bytes((squares / "val0.png").read_bytes())
    paths = [squares / "val0.png", again]
    lines(Predictor.load(run.folder), paths, tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["val0-2.png", "val0.png"]


def test_a_picture_does_not_replace_its_image(run, squares):
    before = (squares / "val0.png").read_bytes()
    with pytest.raises(ValueError, match="would replace its image"):
        lines(Predictor.load(run.folder), [squares / "val0.png"], squares)
    assert (squares / "val0.png").read_bytes() == before


def test_the_batch_size_does_not_change_the_scores(run, squares):
    predictor = Predictor.load(run.folder)
    paths = [squares / f"val{i}.png" for i in range(5)]
    for one, other in zip(
        lines(predictor, paths, batch_size=1),
        lines(predictor, paths, batch_size=3),
        strict=True,
    ):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_a_folder_of_images_is_searched(squares):
    assert len(find_images([squares])) == 56


def test_files_that_cannot_be_read_cost_no_other_and_have_their_reason(
    run, squares, tmp_path
):
    good = squares / "val0.png"
    contents = {
        "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html></html>",
        "cut.jpg": encode(noise(40, 40), "JPEG")[:-2],
        "phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "cut.webp": encode(noise(40, 40), "WEBP")[:-9],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    broken = [tmp_path / name for name in contents]
    broken += [tmp_path / "none.jpg", tmp_path, tmp_path / "a\0b.jpg"]
    # With batches of two, some are wholly unreadable.
    paths = [good, *broken, good]
    found = lines(Predictor.load(run.folder), paths, tmp_path / "out", batch_size=2)
    assert [line["valid"] for line in found] == [True, *[False] * 8, True]
    errors = [line["error"] for line in found[1:-1]]
    for error, expected in zip(
        errors,
        ("empty", "web page", "cut off", "HEIC", "WebP", "missing", "folder", "null"),
        strict=True,
    ):
        assert expected in error
    assert "error" not in found[0]
    assert found[0]["scores"] == pytest.approx(found[-1]["scores"], abs=1e-5)


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats_are_converted_and_drawn(run, squares, tmp_path, form):
    with Image.open(squares / "val0.png") as image:
        options = {"lossless": True} if form == "WEBP" else {}
        colours = image.convert("RGB").quantize(256) if form == "GIF" else image
        (tmp_path / "a.jpg").write_bytes(encode(colours, form, **options))
        (tmp_path / "a.png").write_bytes(encode(colours.convert("RGB")))
    one, other = lines(
        Predictor.load(run.folder),
        [tmp_path / "a.jpg", tmp_path / "a.png"],
        tmp_path / "out",
    )
    assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    drawn = [Image.open(line["picture"]).convert("RGB") for line in (one, other)]
    np.testing.assert_array_equal(*map(np.asarray, drawn))


def test_the_limit_of_the_model_holds_for_converted_images(squares, tmp_path):
    run = untrained(squares, tmp_path / "run", max_pixels=1600)
    for edge in (40, 41):
        Image.new("RGB", (edge, edge)).save(tmp_path / f"{edge}.bmp")
    paths = [tmp_path / "40.bmp", tmp_path / "41.bmp"]
    allowed, refused = lines(Predictor.load(run.folder), paths)
    assert allowed["valid"]
    assert "--max_pixels 1600" in refused["error"]


def test_a_run_and_its_export_accept_truncated_files_if_trained_so(squares, tmp_path):
    run = untrained(squares, tmp_path / "run", truncated="accept")
    whole = encode(noise(40, 40), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[:-2])
    (tmp_path / "whole.jpg").write_bytes(whole)
    paths = [tmp_path / "cut.jpg", tmp_path / "whole.jpg"]
    view = run_models.view(run, run_models.load_attention(run))
    for folder in (run.folder, export(view, run, tmp_path / "saved")):
        cut, expected = lines(Predictor.load(folder), paths, tmp_path / "out")
        assert cut["scores"] == pytest.approx(expected["scores"], abs=1e-5)
        assert pathlib.Path(cut["picture"]).is_file()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model"):
        Predictor.load(tmp_path)


def test_examples_hold_the_bytes_of_the_images(run, squares):
    split = load_split(run.config, "val")
    examples = write_examples(
        run, run_models.view(run, run_models.load_attention(run)), split, count=3
    )
    stored = np.load(examples.npy, allow_pickle=True)
    assert (
        stored[0] == (squares / "val0.png").read_bytes() == examples.image.read_bytes()
    )
    assert len(stored) == 3
    with Image.open(examples.picture) as picture:
        assert picture.width > 3 * 360


def test_examples_of_the_same_name_are_all_kept(run, squares):
    split = load_split(run.config, "val").take(range(2))
    twins = dataclasses.replace(split, names=("2023/a.png", "2024/a.png"))
    examples = write_examples(
        run, run_models.view(run, run_models.load_attention(run)), twins, count=2
    )
    kept = [examples.image.with_name(name) for name in ("a.png", "a-2.png")]
    assert examples.image == kept[0]
    for path, original in zip(kept, split.images, strict=True):
        assert path.read_bytes() == pathlib.Path(original).read_bytes()


def test_the_picture_of_a_run_uses_its_fitted_thresholds(squares, tmp_path):
    run = untrained(squares, tmp_path / "run", calibrate=True)
    split = load_split(run.config, "val")
    drawn = []
    for thresholds in ((0.0,) * 3, (1.0,) * 3):
        with write_with_checksum(run.calibration_file) as temporary:
            temporary.write_text(Calibration(1.0, thresholds).to_json(LABELS))
        view = run_models.served_view(run, run_models.load_attention(run))
        with Image.open(write_examples(run, view, split, 1).picture) as picture:
            shades = {shade for _, shade in picture.convert("RGB").getcolors(2**24)}
        drawn.append(shades & {colour(number) for number in range(2)})
    assert drawn[0]
    assert not drawn[1]


def test_pictures_show_a_region_in_the_colour_of_its_step(squares, tmp_path):
    run = untrained(squares, tmp_path / "run", model="rarl", steps=2)
    predictor, image = Predictor.load(run.folder), squares / "val0.png"
    (line,) = lines(predictor, [image], tmp_path)
    outputs = predictor([image.read_bytes()])
    best = outputs["region_scores"][0].argmax(0)[outputs["probabilities"][0] >= 0.5]
    own = {colour(region // 9) for region in best}
    assert own != {colour(region) for region in best}
    examples = write_examples(
        run,
        run_models.view(run, run_models.load_attention(run)),
        load_split(run.config, "val"),
        1,
    )
    for path in (line["picture"], examples.picture):
        with Image.open(path) as picture:
            found = {shade for _, shade in picture.convert("RGB").getcolors(2**24)}
        drawn = found & {colour(number) for number in range(7)}
        assert drawn == own
