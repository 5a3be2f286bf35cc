"""Tests the linear SVMs against scikit-learn, SciPy and results worked out by hand."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from ram_tf.evaluation import svm
from tests.support.broken_array_files import (
    empty,
    flipped,
    single_array,
    text,
    truncated,
)

ABOUT = {"views": 10, "views_from": "features", "scales": [32, 40], "describe": "z"}


def normalized(descriptions):
    return descriptions / np.linalg.norm(descriptions, axis=1, keepdims=True)


def noisy_labels(descriptions, count, noise, share=0.3, seed=5):
    """Returns labels that hyperplanes separate, except for some noise."""
    rng = np.random.default_rng(seed)
    sides = normalized(descriptions) @ rng.normal(size=(descriptions.shape[1], count))
    sides += noise * sides.std(0) * rng.normal(size=sides.shape)
    return (sides > np.quantile(sides, 1 - share, axis=0)).astype(int)


@pytest.fixture(scope="module")
def descriptions():
    rng = np.random.default_rng(0)
    # Of various lengths, like features.
    shape = rng.normal(size=(90, 12)) * rng.uniform(0.1, 9, size=(90, 1))
    return shape.astype("float32")


@pytest.fixture(scope="module")
def labels(descriptions):
    return noisy_labels(descriptions, 3, noise=1.0)


@pytest.fixture(scope="module")
def fitted(descriptions, labels):
    return svm.fit(descriptions, labels, ABOUT)


def cross_validated_decisions(features, present, cost):
    """Returns the decision of each image by an SVM that was not trained on it."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    machine = LinearSVC(C=cost, tol=1e-8, max_iter=1_000_000)
    return cross_val_predict(
        machine, features, present, cv=folds, method="decision_function"
    )


def test_decisions_are_those_of_scikit_learns_linear_svc(descriptions, labels, fitted):
    decisions = fitted.decisions(descriptions).numpy()
    assert decisions.dtype == np.float32
    features = normalized(descriptions)
    for i, cost in enumerate(fitted.costs):
        # LIBLINEAR's other solver has the same optimum.
        machine = LinearSVC(C=cost, dual=True, tol=1e-8, max_iter=1_000_000)
        expected = machine.fit(features, labels[:, i]).decision_function(features)
        np.testing.assert_allclose(decisions[:, i], expected, atol=2e-3)


def test_the_cost_has_the_best_average_precision_in_cross_validation(
    descriptions, labels, fitted
):
    features = normalized(descriptions)
    for present, cost in zip(labels.T, fitted.costs, strict=True):
        decisions = [cross_validated_decisions(features, present, c) for c in svm.COSTS]
        precisions = [average_precision_score(present, d) for d in decisions]
        chosen = np.argmin(np.abs(np.array(svm.COSTS) - cost))
        assert precisions[chosen] == max(precisions)


def test_a_large_cost_is_chosen_where_a_small_one_underfits():
    # A small feature is right every time, a large one three times out of four.
    rng = np.random.default_rng(0)
    present = np.arange(80) % 2
    sign = 2 * present - 1
    often = sign * np.where(np.arange(80) % 8 < 2, -1, 1)
    x = np.stack([0.05 * sign, often, np.ones(80)], 1) + 1e-3 * rng.normal(size=(80, 3))
    fitted = svm.fit(x, present[:, None], ABOUT, costs=(1e-3, 1e3))
    assert fitted.costs.tolist() == [1e3]
    decisions = fitted.decisions(x)[:, 0]
    assert average_precision_score(present, decisions) == 1.0


def test_a_small_cost_is_chosen_where_a_large_one_overfits():
    rng = np.random.default_rng(0)
    present = np.arange(60) % 2
    x = rng.normal(size=(60, 60)) + 0.2 * (2 * present[:, None] - 1)
    fitted = svm.fit(x, present[:, None], ABOUT, costs=(1e-3, 1e3))
    assert fitted.costs == np.float32(1e-3)


def test_images_with_an_unknown_label_are_ignored_for_it(descriptions, labels):
    labels = labels.copy()
    unknown = [3, 14, 15, 80]
    labels[unknown, 0] = -1
    changed = descriptions.copy()
    changed[unknown] = 7 * changed[unknown, ::-1]
    before, after = (svm.fit(d, labels, ABOUT) for d in (descriptions, changed))
    for name in ("weights", "bias", "platt", "costs"):
        first, second = getattr(before, name), getattr(after, name)
        np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(before.weights[1] - after.weights[1]).max() > 1e-3
    without = np.delete(np.arange(len(labels)), unknown)
    expected = svm.fit(descriptions[without], labels[without], ABOUT)
    np.testing.assert_allclose(before.weights[0], expected.weights[0], rtol=1e-5)


def test_a_label_that_is_always_or_never_present_has_a_constant_decision(descriptions):
    constant = np.tile([0, 1, -1], (8, 1))
    fitted = svm.fit(descriptions[:8], constant, ABOUT)
    decisions = fitted.decisions(descriptions)
    np.testing.assert_array_equal(decisions, np.tile([-1.0, 1.0, -1.0], (90, 1)))
    # (0 + 1) / (8 + 2) and (8 + 1) / (8 + 2); the third is unknown, and must
    # not be predicted: (0 + 1) / (1 + 2).
    expected = np.tile([0.1, 0.9, 1 / 3], (90, 1))
    np.testing.assert_allclose(fitted.probabilities(decisions), expected, rtol=1e-6)


@pytest.mark.parametrize("rare", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_positives_or_negatives_are_enough(descriptions, rare, count):
    column = np.full(30, 1 - rare)
    column[[7, 20][:count]] = rare
    x = descriptions[:30].copy()
    x[column == rare, 0] += 20
    fitted = svm.fit(x, column[:, None], ABOUT)
    probabilities = fitted.probabilities(fitted.decisions(x)).numpy()[:, 0]
    assert np.isfinite(probabilities).all()
    present, absent = probabilities[column == 1], probabilities[column == 0]
    assert present.min() > absent.max()
    if count == 1:
        # There is no cross-validation to choose a cost.
        assert fitted.costs == np.float32(1.0)


def test_folds_are_seeded_and_threads_change_nothing():
    # Large enough that threads run in LIBLINEAR at the same time.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 150))
    labels = noisy_labels(x, 6, noise=0.5)

    def fit(seed, jobs):
        return svm.fit(x, labels, ABOUT, seed, costs=(1.0,), jobs=jobs)

    one, other = fit(0, jobs=1), fit(0, jobs=4)
    for name in ("weights", "bias", "platt"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert np.any(fit(1, jobs=1).platt != one.platt)


def test_lengths_of_descriptions_do_not_matter(descriptions, fitted):
    decisions = fitted.decisions(descriptions)
    np.testing.assert_allclose(fitted.decisions(9 * descriptions), decisions, atol=1e-5)
    nothing = fitted.decisions(np.zeros((1, 12), "float32"))
    np.testing.assert_allclose(nothing[0], fitted.bias)


def platt_by_nelder_mead(present, decisions):
    """Fits Platt's own formulas with an optimiser that needs no gradient."""
    positives, negatives = np.sum(present), np.sum(~present)
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)

    def loss(parameters):
        p = 1 / (1 + np.exp(-(parameters[0] * decisions + parameters[1])))
        right = np.where(present, high, low)
        return -np.sum(right * np.log(p) + (1 - right) * np.log(1 - p))

    precise = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10_000}
    return minimize(loss, [1.0, 0.0], method="Nelder-Mead", options=precise).x


def overlapping(count=60, seed=0):
    """Returns which images have a label, and decisions that overlap."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.3
    return present, 2 * present - 1 + rng.normal(size=count)


def test_platt_scaling_is_the_optimum_of_its_loss():
    present, decisions = overlapping()
    expected = platt_by_nelder_mead(present, decisions)
    actual = svm.platt_scaling(present, decisions)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_platt_scaling_is_finite_where_decisions_are_always_right():
    present, decisions = np.repeat([False, True], 20), np.repeat([-1.0, 1.0], 20)
    # Both targets are reached: 21 / 22 and 1 / 22, with odds of 21 and of 1 / 21.
    actual = svm.platt_scaling(present, decisions)
    np.testing.assert_allclose(actual, [np.log(21), 0], atol=1e-4)


def test_platt_scaling_gives_the_probabilities_of_scikit_learn():
    present, decisions = overlapping()
    # Its calibrator takes any classifier: here the decision is the only feature.
    machine = LinearSVC(dual=False).fit(decisions[:, None], present)
    machine.coef_[:], machine.intercept_[:] = 1, 0
    calibrated = CalibratedClassifierCV(FrozenEstimator(machine), method="sigmoid")
    calibrated.fit(decisions[:, None], present)
    slope, offset = svm.platt_scaling(present, decisions)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-(slope * decisions + offset))),
        calibrated.predict_proba(decisions[:, None])[:, 1],
        atol=1e-4,
    )


def test_platt_scaling_never_reverses_the_ranking():
    present, decisions = overlapping()
    slope, offset = svm.platt_scaling(present, -decisions)
    assert platt_by_nelder_mead(present, -decisions)[0] < 0
    assert slope == svm.MIN_SLOPE
    # The offset is the best one for that slope: the mean of the probabilities is right.
    target = np.where(present, (present.sum() + 1) / (present.sum() + 2), 0)
    target[~present] = 1 / ((~present).sum() + 2)

    def error(offset):
        logits = slope * -decisions + offset
        return (np.sum(1 / (1 + np.exp(-logits)) - target)) ** 2

    best = minimize_scalar(error, bounds=(-5, 5), method="bounded").x
    assert offset == pytest.approx(best, abs=1e-3)


def test_platt_scaling_is_fitted_to_decisions_of_cross_validation(
    descriptions, labels, fitted
):
    features = normalized(descriptions)
    for i, cost in enumerate(fitted.costs):
        present = labels[:, i] > 0
        decisions = cross_validated_decisions(features, present, cost)
        expected = platt_by_nelder_mead(present, decisions)
        np.testing.assert_allclose(fitted.platt[i], expected, rtol=0.02)


def outputs_of(descriptions):
    return {
        "scores": np.zeros((len(descriptions), 3)),
        "probabilities": np.zeros((len(descriptions), 3)),
        "region_scores": np.ones((len(descriptions), 2, 3)),
        "description": descriptions,
    }


def test_decisions_replace_the_scores_of_the_network(descriptions, fitted):
    scored = fitted.postprocess(outputs_of(descriptions))
    assert set(scored) == {"scores", "probabilities", "region_scores"}
    decisions = fitted.decisions(descriptions).numpy()
    np.testing.assert_array_equal(scored["scores"], decisions)
    slope, offset = fitted.platt.T
    np.testing.assert_allclose(
        scored["probabilities"], 1 / (1 + np.exp(-slope * decisions - offset)), 1e-5
    )
    np.testing.assert_array_equal(scored["region_scores"], np.ones((90, 2, 3)))


def test_a_saved_svm_is_loaded_unchanged(fitted, descriptions, tmp_path):
    fitted.save(tmp_path / "svm.npz")
    again = svm.OneVsRestSVM.load(tmp_path / "svm.npz")
    assert again.about == ABOUT
    for field in dataclasses.fields(svm.OneVsRestSVM):
        before, after = getattr(fitted, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(before, after)
        assert np.asarray(before).dtype == np.asarray(after).dtype
    np.testing.assert_array_equal(
        again.decisions(descriptions), fitted.decisions(descriptions)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["svm.npz"]


def test_the_file_contains_arrays_without_pickle(fitted, tmp_path):
    fitted.save(tmp_path / "svm.npz")
    with np.load(tmp_path / "svm.npz", allow_pickle=False) as saved:
        assert all(not saved[name].dtype.hasobject for name in saved.files)


def other_arrays(path):
    np.savez(path, weights=np.zeros(3))


def objects(path):
    np.savez(path, weights=np.array([{}], object), allow_pickle=True)


def other_about(path):
    arrays = {"weights": 0, "bias": 0, "platt": 0, "costs": 0}
    np.savez(path, about="{", **arrays)


@pytest.mark.parametrize(
    "spoil",
    [truncated, flipped, empty, text, single_array, other_arrays, objects, other_about],
)
def test_a_damaged_or_other_file_is_refused(fitted, tmp_path, spoil):
    path = tmp_path / "svm.npz"
    fitted.save(path)
    spoil(path)
    with pytest.raises(ValueError, match="The SVM cannot be read") as refused:
        svm.OneVsRestSVM.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no SVM yet.*evaluate.py --svm"):
        svm.OneVsRestSVM.load(tmp_path / "svm.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"bias": np.zeros(9, np.float32)},
        {"platt": np.full((3, 2), np.nan, np.float32)},
        {"weights": np.zeros(3)},
        {"about": np.array("[" * 100_000)},
        {"about": np.array("[]")},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change, tmp_path):
    arrays = {
        "weights": np.zeros((3, 4), np.float32),
        "bias": np.zeros(3, np.float32),
        "platt": np.zeros((3, 2), np.float32),
        "costs": np.zeros(3, np.float32),
        "about": np.array("{}"),
    }
    np.savez(tmp_path / "svm.npz", **arrays)
    assert svm.OneVsRestSVM.load(tmp_path / "svm.npz").about == {}
    np.savez(tmp_path / "svm.npz", **{**arrays, **change})
    with pytest.raises(ValueError, match="cannot be read"):
        svm.OneVsRestSVM.load(tmp_path / "svm.npz")
