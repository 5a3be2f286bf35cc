"""The benchmarks: what is timed is what its name says, and figures are worked out."""

import io
import json
import statistics

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from benchmarks import (
    forward,
    input_pipeline,
    photographs,
    record,
    run,
    saved_model,
    soak,
    timing,
    training_step,
)
from benchmarks.subject import Subject
from benchmarks.timing import Candidate, Figure
from ram_tf.data.decoding import MAX_PIXELS
from ram_tf.data.pipelines import training_pipeline
from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.models.networks import RDAR, PooledClassifier
from ram_tf.runs import run_models
from ram_tf.serving.export import read_images

FIGURES = [figure for group in run.GROUPS for figure in group.figures]


class Clock:
    """A clock that stands still but for what candidates say that they take."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def candidate(self, name, *seconds, images=1):
        remaining = iter(seconds)

        def call():
            self.calls.append(name)
            self.now += next(remaining)

        return Candidate(call, images)


def test_candidates_take_turns_after_a_call_each_that_does_not_count():
    clock = Clock()
    candidates = {
        "a": clock.candidate("a", 100, 2, 4),
        "b": clock.candidate("b", 100, 3, 5, images=10),
    }
    seconds = timing.alternate(candidates, 2, clock)
    assert clock.calls == ["a", "b"] * 3
    assert seconds == {"a": [2, 4], "b": [0.3, 0.5]}


def test_a_figure_is_the_median_of_the_rounds_ratios():
    clock = Clock()
    candidates = {
        "over": clock.candidate("over", 0, 4, 9, 8),
        "under": clock.candidate("under", 0, 1, 3, 8),
        "neither": clock.candidate("neither"),
    }
    figure = Figure("figure", "over", "under")
    found = timing.measure([figure], candidates, 3, clock=clock)["figure"]
    # The ratio of the medians would be 8 / 3.
    assert (found.value, found.low, found.high) == (3, 1, 4)
    assert found.seconds == {"over": 8, "under": 3}
    assert found.rounds == 3


def test_candidates_that_figures_share_are_timed_once():
    clock = Clock()
    candidates = {name: clock.candidate(name, 1, 1) for name in "abc"}
    figures = [Figure("one", "a", "b"), Figure("other", "c", "b")]
    timing.measure(figures, candidates, 1, clock=clock)
    assert clock.calls == ["a", "b", "c"] * 2


# Seconds that each candidate takes for an image.
SECONDS = {
    "backbone": 2.0,
    "model": 3.0,
    "ten_views": 5.0,
    "ten_views_image": 25.0,
    "proposals": 45.0,
    "proposals_shared": 21.0,
    "recurrence": 8.0,
    "sampling": 1.0,
    "w_fx": 3.0,
    "functions": 0.25,
    "pipeline": 0.5,
    "serving_default": 7.0,
    "keras": 4.0,
    "step": 6.0,
    "backbone_step": 4.0,
    "step_bfloat16": 9.0,
    "step_xla": 18.0,
}
WORKED_OUT = {
    "model_over_backbone": 1.5,
    "ten_views_over_backbone": 2.5,
    "ten_views_image_over_backbone": 12.5,
    "ten_views_image_over_shared": 5.0,
    "proposals_over_regions": 15.0,
    "proposals_shared_over_regions": 7.0,
    "share_sampling": 0.125,
    "share_w_fx": 0.375,
    "share_rest": 0.5,
    # 2 images a second over 4.
    "pipeline_over_functions": 0.5,
    "saved_model_over_keras": 1.75,
    "step_over_backbone_step": 1.5,
    # 2 images a second over 1/6.
    "pipeline_over_step": 12.0,
    "step_bfloat16_over_step": 1.5,
    "step_xla_over_step": 3.0,
}


def test_there_is_a_figure_for_every_name():
    assert sorted(figure.name for figure in FIGURES) == sorted(WORKED_OUT)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_is_worked_out_from_what_its_name_says(figure):
    seconds = {name: [value] * 2 for name, value in SECONDS.items()}
    assert figure.ratios(seconds) == [WORKED_OUT[figure.name]] * 2


def test_shares_of_uneven_rounds_sum_to_one():
    rng = np.random.default_rng(0)
    clock = Clock()
    candidates = {
        name: clock.candidate(name, 0, *rng.uniform(1, 9, 4))
        for name in ("recurrence", "sampling", "w_fx")
    }
    shares = [figure for figure in FIGURES if figure.name.startswith("share_")]
    found = timing.measure(shares, candidates, 4, clock=clock)
    assert sum(each.value for each in found.values()) == pytest.approx(1, abs=1e-12)


def test_targets_are_those_of_the_requirements():
    targets = {f.name: record.target(f) for f in FIGURES if record.target(f)}
    assert targets == {
        "model_over_backbone": "<= 1.15",
        "ten_views_over_backbone": "<= 2.6",
        "ten_views_image_over_shared": ">= 3",
        "proposals_over_regions": ">= 10",
        "pipeline_over_functions": ">= 0.9",
        "pipeline_over_step": ">= 3",
        "saved_model_over_keras": "<= 1.05",
    }


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    return Subject.of(folder, "small", image_size=40, batch_size=2, passed=7)


@pytest.fixture(scope="module")
def looking(subject):
    return forward.candidates(subject)


def assert_same(actual, expected):
    tf.nest.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), actual, expected
    )


@pytest.mark.parametrize(
    ("backbone", "sizes", "pooling", "units"),
    [
        ("vgg16", (512, 448), "flatten", 4096),
        ("mobilenet_v2", (320, 256), "average", 512),
    ],
)
def test_networks_have_the_settings_they_are_used_with(
    tmp_path, backbone, sizes, pooling, units
):
    settings = Subject.of(tmp_path, backbone).settings
    assert (settings.image.image_size, settings.image.crop) == sizes
    assert (settings.attention.region_pooling, settings.attention.units) == (
        pooling,
        units,
    )
    assert (
        settings.training.batch_size,
        settings.attention.regions,
        settings.image.zooms,
    ) == (8, 5, "1")
    assert settings.model.weights == "none"


def test_backbone_and_model_look_at_the_same_whole_images(subject, looking):
    images = subject.images(40)
    assert images.shape == (2, 40, 40, 3)
    assert_same(looking["backbone"].run(), subject.model.backbone(images))
    assert_same(looking["model"].run(), subject.model(images))


@pytest.mark.parametrize(
    ("name", "source"), [("ten_views", "features"), ("ten_views_image", "image")]
)
def test_ten_views_are_those_of_the_evaluation(subject, looking, name, source):
    view = run_models.view(subject.run, subject.model, count=10, source=source)
    assert view.about["views"] == 10
    assert_same(looking[name].run(), view((subject.images(40),)))


def test_eight_crops_of_224_pixels_count_as_eight_of_500(subject, looking, monkeypatch):
    shapes = []
    call = PooledClassifier.call

    def noting(self, images, training=False):
        shapes.append(tuple(images.shape))
        return call(self, images, training)

    monkeypatch.setattr(PooledClassifier, "call", noting)
    proposals = forward.candidates(subject)["proposals"]
    shapes.clear()  # of building
    assert proposals.run()["scores"].shape == (8, 20)
    assert shapes == [(8, 224, 224, 3)]
    assert proposals.images == 8 / 500
    others = {candidate.images for n, candidate in looking.items() if n != "proposals"}
    assert others == {2}


@pytest.mark.parametrize(("count", "at_once"), [(6, 3), (2, 100)])
@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_proposals_on_shared_features_are_fused_by_maximum(
    subject, monkeypatch, count, at_once, pooling
):
    monkeypatch.setattr(forward, "AT_ONCE", at_once)
    units = 5 if pooling == "flatten" else None
    backbone, objective = subject.model.backbone, subject.settings.objective
    pooled = PooledClassifier(backbone, 3, objective, pooling, units, (4, 4))
    images, theta = subject.images(40), forward.boxes(2, count)
    pooled(images)
    scores = forward.proposals_on_features(pooled)(images, theta)
    expected = []
    for k in range(count):
        x = sample_region(backbone(images), theta[:, k], (4, 4))
        x = pool_region(x, pooling)
        expected.append(pooled.classifier(pooled.feature(x) if units else x))
    np.testing.assert_allclose(scores, np.max(expected, 0), atol=1e-4)


def test_500_proposals_lie_inside_the_image(looking):
    theta = forward.boxes(3).numpy()
    assert theta.shape == (3, 500, 4)
    assert (theta[..., :2] > 0).all()
    assert (np.abs(theta[..., 2:]) + theta[..., :2] <= 1).all()
    assert looking["proposals_shared"].run().shape == (2, 20)


def test_the_recurrence_is_the_model_after_its_backbone(subject, looking):
    expected = subject.model(subject.images(40))["region_scores"]
    assert_same(looking["recurrence"].run()["region_scores"], expected)


def test_samplings_and_products_are_those_of_one_more_turn_than_regions(
    subject, looking
):
    attention = subject.model.attention
    maps = subject.model.backbone(subject.images(40))
    whole, turns = forward.thetas(attention, 2)
    assert (whole.shape, turns.shape) == ((2, 1, 4), (5, 2, 1, 4))

    def pooled(theta):
        regions = attention.spatial_transformer(maps, theta)
        return pool_region(regions, attention.region_pooling)

    expected = pooled(whole[:, 0]), tf.stack([pooled(theta[:, 0]) for theta in turns])
    assert_same(looking["sampling"].run(), expected)
    whole, turns = forward.inputs(attention, 2)
    assert (len(whole), len(turns)) == (2, 5)
    read = attention.region_lstm.feature
    assert_same(
        looking["w_fx"].run(), (read(whole), tf.stack([read(x) for x in turns]))
    )


def test_rarl_samples_and_reads_nine_regions_a_turn(tmp_path):
    subject = Subject.of(tmp_path, "small", 40, batch_size=2, model="rarl")
    attention = subject.model.attention
    assert attention.num_regions == 45
    found = forward.candidates(subject)
    whole, turns = found["sampling"].run()
    assert (len(whole), turns.shape[:2]) == (2, (5, 2 * 9))
    # As the module has them: the regions of an image stand together.
    maps = subject.model.backbone(subject.images(40))
    theta = forward.thetas(attention, 2)[1][3, 1, 4]
    region = sample_region(maps[1:], theta[None], attention.region_size)
    expected = pool_region(region, attention.region_pooling)[0]
    np.testing.assert_allclose(turns[3, 9 + 4], expected, atol=1e-5)
    whole, turns = found["w_fx"].run()
    assert (whole.shape, turns.shape) == ((2, 256), (5, 2 * 9, 256))
    assert found["recurrence"].run()["region_scores"].shape == (2, 45, 20)


def test_the_plain_map_gives_the_images_of_the_pipeline(subject):
    # Without margin and mirror nothing is drawn.
    subject = subject.with_settings(crop_margin=0, flip=False)
    split = subject.split
    batches = training_pipeline(split, 40, 40, False, 7, range(1), 0)
    ((expected, _),) = batches
    images = np.stack([image.numpy() for image in input_pipeline.functions(subject)])

    def in_order(images):
        return images[np.argsort(images.sum((1, 2, 3)))]

    np.testing.assert_allclose(in_order(images), in_order(expected.numpy()), atol=1e-3)


def place_of(crop, whole):
    """Where `crop` was cut from `whole`: its corner, and whether it is mirrored."""
    for mirrored in (False, True):
        cut = crop[:, ::-1] if mirrored else crop
        windows = np.lib.stride_tricks.sliding_window_view(whole, cut.shape)
        distance = np.abs(windows - cut).max((-3, -2, -1))[..., 0]
        if distance.min() < 1e-3:
            return *np.unravel_index(distance.argmin(), distance.shape), mirrored
    return None


def test_the_plain_map_cuts_and_mirrors(subject):
    uncut = subject.with_settings(crop_margin=0, flip=False)
    cut = subject.with_settings(crop_margin=8, flip=True)
    places = {
        place_of(crop.numpy(), whole.numpy())
        for crop, whole in zip(
            input_pipeline.functions(cut), input_pipeline.functions(uncut), strict=True
        )
    }
    assert None not in places
    assert len(places) > 2  # of seven images


def test_a_pass_counts_the_images_that_come_out_of_it(subject):
    found = input_pipeline.candidates(subject)
    assert (found["functions"].run(), found["functions"].images) == (7, 7)
    # Three batches of two: what is left over is dropped.
    assert (found["pipeline"].run(), found["pipeline"].images) == (3, 6)


def test_a_step_trains_the_whole_model_on_crops(subject):
    changed = subject.with_settings(seed=1)
    found = training_step.candidates(changed)
    assert {name: each.images for name, each in found.items()} == {
        "step": 2,
        "backbone_step": 2,
        "pipeline": 6,
    }
    model = changed.model
    before = [variable.numpy() for variable in model.trainable_variables]
    found["step"].run()
    moved = [
        np.any(v.numpy() != b)
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    # The kernel W_zm starts at zero, and so does the gradient behind it.
    assert np.mean(moved) > 0.9
    assert model.optimizer.iterations == 1


def test_a_backbone_step_has_the_gradients_of_its_weights(subject):
    backbone = subject.model.backbone
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(backbone(subject.images(32)))
    expected = tape.gradient(total, [v.value for v in backbone.trainable_variables])
    gradients = training_step.backbone_step(subject)()
    assert len(gradients) == len(backbone.trainable_variables) > 0
    for actual, right in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(actual, right, rtol=1e-3, atol=1e-2)


def test_a_step_in_bfloat16_differs_in_precision_alone(subject, monkeypatch):
    monkeypatch.setattr(training_step, "step", lambda subject: subject)
    found = training_step.in_bfloat16(subject)
    assert found["step"].settings == subject.settings
    changed = found["step_bfloat16"]
    expected = subject.with_settings(precision="mixed_bfloat16").settings
    assert changed.settings == expected
    assert changed.model.attention.compute_dtype == "bfloat16"
    assert subject.model.attention.compute_dtype == "float32"
    assert not keras.config.dtype_policy().name.startswith("mixed")


@pytest.mark.slow
def test_xla_compiles_its_step_and_no_other(subject, monkeypatch):
    made, make = {}, RDAR.make_train_function

    def noting(model, force=False):
        make(model, force)
        if force:
            made[id(model.train_function)] = model.jit_compile

    monkeypatch.setattr(RDAR, "make_train_function", noting)
    fresh = subject.with_settings(seed=2)
    found = training_step.with_xla(fresh)
    used = []
    for name in (*found, *found):
        found[name].run()
        used.append(made[id(fresh.model.train_function)])
    assert [*found] == ["step", "step_xla"]
    assert used == [False, True] * 2
    assert fresh.model.optimizer.iterations == 4


def test_saved_model_and_keras_say_the_same_of_the_same_photographs(subject):
    found = saved_model.candidates(subject)
    served, called = (found[name].run() for name in ("serving_default", "keras"))
    assert served["valid"].all()
    for name in ("scores", "boxes", "region_scores"):
        np.testing.assert_allclose(served[name], called[name], atol=1e-4)
    assert {candidate.images for candidate in found.values()} == {2}


def test_photographs_are_colour_jpegs_of_two_shapes(tmp_path):
    paths = photographs.write(tmp_path / "new", count=8)
    assert len({path.read_bytes() for path in paths}) == 8
    sizes = []
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert np.asarray(image).std() > 20
            sizes.append(image.size)
        # VOC's have 90 kB on average.
        assert 20_000 < path.stat().st_size < 200_000
    assert sizes == ([(500, 375)] * 3 + [(375, 500)]) * 2


def entry(value, target="<= 2"):
    measured = timing.Measured(value, value - 1, value + 1, 3, {"a": 0.5, "b": 0.25})
    return record.entry(measured, target, {"backbone": "small"}, {"cores": 2})


def test_figures_that_are_not_measured_again_stay(tmp_path):
    path = tmp_path / "new" / "results.json"
    record.update(path, {"one": entry(1.0), "other": entry(2.0)})
    record.update(path, {"other": entry(5.0)})
    content = json.loads(path.read_text())
    assert (content["one"], content["other"]) == (1.0, 5.0)
    assert content["details"] == {"one": entry(1.0), "other": entry(5.0)}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_details_tell_times_settings_and_machine(tmp_path):
    record.update(tmp_path / "r.json", {"one": entry(1.0)})
    details = json.loads((tmp_path / "r.json").read_text())["details"]["one"]
    assert (details["low"], details["high"], details["rounds"]) == (0.0, 2.0, 3)
    assert details["seconds"] == {"a": 0.5, "b": 0.25}
    assert details["settings"] == {"backbone": "small"}
    assert details["machine"] == {"cores": 2}


@pytest.mark.parametrize("text", ["", "[]", '{"model_over_backbone": 1.0}'])
def test_another_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="The results cannot be read"):
        record.update(path, {"one": entry(1.0)})
    assert path.read_text() == text


def test_the_table_shows_target_figure_spread_and_times():
    head, one, other = record.table(
        {"one": entry(1.2345), "other": entry(7.0, target="")}
    ).splitlines()
    assert head.split() == "target figure rounds milliseconds an image".split()
    assert one.split() == "one <= 2 1.23 0.234 to 2.23 a 500, b 250".split()
    assert other.split() == "other 7 6 to 8 a 500, b 250".split()


def test_machine_names_cores_and_versions():
    machine = record.machine()
    assert machine["cores"] >= 1
    assert machine["tensorflow"] == tf.__version__
    assert machine["keras"] == keras.__version__


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--only", "models_over_backbone"], "no such figure: models_over_backbone"),
        (["--backbone", "small", "--only", "share_rest_vgg"], "share_rest_vgg"),
        (["--rounds", "0"], "1 or more"),
        (["--backbone", "vgg"], "invalid choice"),
    ],
)
def test_what_cannot_be_measured_is_refused(flags, said, capsys):
    with pytest.raises(SystemExit):
        run.parse(flags)
    assert said in capsys.readouterr().err


def test_defaults_are_vgg16_then_mobilenet_v2_at_batch_8():
    arguments = run.parse([])
    assert tuple(arguments.backbone) == ("vgg16", "mobilenet_v2")
    assert arguments.batch_size == 8
    assert arguments.output.parts[-2:] == ("benchmarks", "results.json")
    assert run.full_name("share_rest", "vgg16") == "share_rest"
    assert run.full_name("share_rest", "mobilenet_v2") == "share_rest_mobilenet_v2"
    assert run.full_name("share_rest", "vgg16", "rarl") == "share_rest_rarl"


TINY = "--backbone small --image_size 40 --batch_size 2 --rounds 2".split()


def test_only_measures_and_writes_what_it_names(tmp_path, capsys):
    path = tmp_path / "results.json"
    record.update(path, {"model_over_backbone_small": entry(9.0), "old": entry(3.0)})
    flags = [
        *TINY,
        f"--output={path}",
        "--only",
        "model_over_backbone",
        "share_rest_small",
    ]
    assert run.main(flags) == 0
    content = json.loads(path.read_text())
    assert [*content["details"]] == [
        "model_over_backbone_small",
        "old",
        "share_rest_small",
    ]
    assert content["old"] == 3.0
    details = content["details"]["model_over_backbone_small"]
    assert details["settings"]["image_size"] == 40
    assert details["value"] == content["model_over_backbone_small"] != 9.0
    assert details["low"] <= details["value"] <= details["high"]
    printed = capsys.readouterr().out
    assert "model_over_backbone_small" in printed
    assert "old" not in printed


def test_what_an_interrupted_run_has_measured_is_kept(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    groups = [run.GROUPS[0], run.GROUPS[1]._replace(candidates=interrupted)]
    monkeypatch.setattr(run, "GROUPS", groups)
    path = tmp_path / "results.json"
    only = ["--only", "model_over_backbone", "pipeline_over_functions"]
    with pytest.raises(KeyboardInterrupt):
        run.main([*TINY, f"--output={path}", *only])
    assert [*json.loads(path.read_text())["details"]] == ["model_over_backbone_small"]
    assert "model_over_backbone_small" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_run_writes_every_figure(tmp_path):
    path = tmp_path / "results.json"
    assert run.main([*TINY, f"--output={path}"]) == 0
    content = json.loads(path.read_text())
    details = content.pop("details")
    assert [*content] == [*details] == [f"{figure.name}_small" for figure in FIGURES]
    assert all(np.isfinite(value) for value in content.values())
    shares = [content[f"share_{part}_small"] for part in ("sampling", "w_fx", "rest")]
    assert sum(shares) == pytest.approx(1)
    ratio = details["model_over_backbone_small"]
    assert statistics.median([ratio["low"], ratio["high"]]) == pytest.approx(
        ratio["value"]
    )


def test_memory_grows_by_the_slope_of_a_line_after_the_warm_up():
    minutes = np.arange(40) / 4
    memory = [(at, 500 + (3 * at if at < 5 else 0.5 * at)) for at in minutes]
    growth, error = soak.slope(memory, 5)
    assert growth == pytest.approx(0.5)
    assert error == pytest.approx(0, abs=1e-6)


def answers(encoded):
    """What a model without weights says: how bright each image is."""
    (images,), valid = read_images(tf.constant(encoded, tf.string), [8], MAX_PIXELS)
    return {"scores": np.mean(images, (1, 2)), "valid": valid.numpy()}


@pytest.mark.slow
def test_a_soak_asks_with_images_of_all_sizes_a_share_of_them_broken(tmp_path):
    encoded = [path.read_bytes() for path in photographs.write(tmp_path, 4)]
    images, whole = soak.mixed(encoded, 0.25, count=28)
    soaked = soak.Soak(answers, images, whole)
    assert 2 <= whole.count(False) <= 12
    longest = {
        max(Image.open(io.BytesIO(image)).size)
        for image, is_whole in zip(images, whole, strict=True)
        if is_whole
    }
    assert longest == set(soak.EDGES)
    soaked.run(0.01, (1, 2), 0.2, tqdm(disable=True))
    assert set(soaked.latencies) == {1, 2}
    with pytest.raises(ValueError, match="does not tell broken"):
        soak.Soak(answers, images, [not each for each in whole])
    soaked.first[5] = {**soaked.first[5], "scores": np.array([[-1.0] * 3])}
    with pytest.raises(ValueError, match="other scores"):
        soaked.ask(5)
