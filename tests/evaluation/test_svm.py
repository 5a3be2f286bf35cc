"""The linear SVMs: against scikit-learn, SciPy and what can be worked out by hand."""

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
    """Labels that a hyperplane each tells apart, but for some noise."""
    rng = np.random.default_rng(seed)
    sides = normalized(descriptions) @ rng.normal(size=(descriptions.shape[1], count))
    sides += noise * sides.std(0) * rng.normal(size=sides.shape)
    return (sides > np.quantile(sides, 1 - share, axis=0)).astype(int)


@pytest.fixture(scope="module")
def descriptions():
    rng = np.random.default_rng(0)
    # Of all lengths, as features are.
    shape = rng.normal(size=(90, 12)) * rng.uniform(0.1, 9, size=(90, 1))
    return shape.astype("float32")


@pytest.fixture(scope="module")
def labels(descriptions):
    return noisy_labels(descriptions, 3, noise=1.0)


@pytest.fixture(scope="module")
def fitted(descriptions, labels):
    return svm.fit(descriptions, labels, ABOUT)


def left_out_decisions(features, present, cost):
    """By an SVM each that has not seen the image."""
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
        # The other of LIBLINEAR's solvers, which has the same optimum.
        machine = LinearSVC(C=cost, dual=True, tol=1e-8, max_iter=1_000_000)
        expected = machine.fit(features, labels[:, i]).decision_function(features)
        np.testing.assert_allclose(decisions[:, i], expected, atol=2e-3)


def test_the_cost_is_the_one_of_best_precision_on_images_left_out(
    descriptions, labels, fitted
):
    features = normalized(descriptions)
    for present, cost in zip(labels.T, fitted.costs, strict=True):
        decisions = [left_out_decisions(features, present, c) for c in svm.COSTS]
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


def memorized(rng, count=300, new=60):
    """Descriptions that know the labels of all but the last images by heart.

    Returns:
        Descriptions, labels `(count, 2)` and the mask of the new images.
    """
    labels = (rng.random((count, 2)) < 0.4).astype("int8")
    unlearnt = np.arange(count) >= count - new
    # What tells of a label everywhere is faint; what was learnt by heart is not there
    # in new images, and noise is in its place.
    faint = labels + rng.normal(0, 1.0, labels.shape)
    by_heart = np.where(unlearnt[:, None], rng.normal(0.5, 0.5, labels.shape), labels)
    noise = rng.normal(0, 0.3, (count, 20))
    return np.hstack([faint, 0.5 * by_heart, noise]), labels, unlearnt


def test_the_cost_is_chosen_by_what_the_network_has_not_learnt_from():
    x, labels, unlearnt = memorized(np.random.default_rng(0))
    costs = (1e-3, 100.0)
    by_all = svm.fit(x, labels, ABOUT, costs=costs)
    by_new = svm.fit(x, labels, ABOUT, costs=costs, unlearnt=unlearnt)
    features = svm.normalized(x).numpy()
    precisions = np.zeros((2, 2))
    for label, column in enumerate(labels.T):
        parts = StratifiedKFold(svm.FOLDS, shuffle=True, random_state=0)
        for row, cost in enumerate(costs):
            decisions = cross_val_predict(
                LinearSVC(C=cost, dual=False, max_iter=10_000),
                features,
                column,
                cv=parts,
                method="decision_function",
            )
            precisions[row, label] = average_precision_score(
                column[unlearnt], decisions[unlearnt]
            )
    best = costs[precisions.mean(1).argmax()]
    assert by_new.costs.tolist() == [np.float32(best)] * 2
    assert by_all.costs.tolist() != by_new.costs.tolist()
    assert (by_all.costs_chosen_by, by_new.costs_chosen_by) == (
        len(labels),
        unlearnt.sum(),
    )


def test_a_label_that_few_new_images_have_does_not_choose_the_cost():
    x, labels, unlearnt = memorized(np.random.default_rng(0))
    rare = labels.copy()
    rare[np.flatnonzero(unlearnt & (labels[:, 1] > 0))[svm.ENOUGH - 1 :], 1] = 0
    costs = svm.COSTS
    both, alone = (
        svm.fit(x, some, ABOUT, costs=costs, unlearnt=unlearnt).costs
        for some in (rare, rare[:, :1])
    )
    assert both.tolist() == alone.tolist() * 2
    # Where no label has enough of them, each has the cost that is best on all images.
    by_all = svm.fit(x, rare[:, 1:], ABOUT, costs=costs)
    fitted = svm.fit(x, rare[:, 1:], ABOUT, costs=costs, unlearnt=unlearnt)
    assert fitted.costs.tolist() == by_all.costs.tolist()
    assert fitted.costs_chosen_by == len(labels)


def test_platt_scaling_is_fitted_to_what_the_network_has_not_learnt_from():
    x, labels, unlearnt = memorized(np.random.default_rng(0))
    by_all = svm.fit(x, labels, ABOUT, costs=(1.0,))
    by_new = svm.fit(x, labels, ABOUT, costs=(1.0,), unlearnt=unlearnt)
    np.testing.assert_array_equal(by_new.weights, by_all.weights)
    # What was learnt by heart would make it surer than it is of a new image.
    assert (by_new.platt[:, 0] < 0.7 * by_all.platt[:, 0]).all()
    # A label that few new images have is scaled by all of them, as one of its own.
    labels[np.flatnonzero(unlearnt & (labels[:, 1] > 0))[svm.ENOUGH - 1 :], 1] = 0
    mixed = svm.fit(x, labels, ABOUT, costs=(1.0,), unlearnt=unlearnt)
    alone = svm.fit(x, labels[:, 1:], ABOUT, costs=(1.0,))
    np.testing.assert_array_equal(mixed.platt[1], alone.platt[0])


def test_new_images_of_an_unknown_label_do_not_judge_it():
    x, labels, unlearnt = memorized(np.random.default_rng(0))
    unknown = np.flatnonzero(unlearnt)[::3]
    labels[unknown] = -1
    fitted = svm.fit(x, labels, ABOUT, unlearnt=unlearnt)
    known = np.delete(np.arange(len(x)), unknown)
    expected = svm.fit(x[known], labels[known], ABOUT, unlearnt=unlearnt[known])
    for name in ("weights", "bias", "platt", "costs"):
        found, right = getattr(fitted, name), getattr(expected, name)
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_images_of_an_unknown_label_change_nothing_for_it(descriptions, labels):
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


def test_a_label_of_one_kind_has_the_same_decision_for_every_image(descriptions):
    constant = np.tile([0, 1, -1], (8, 1))
    fitted = svm.fit(descriptions[:8], constant, ABOUT)
    decisions = fitted.decisions(descriptions)
    np.testing.assert_array_equal(decisions, np.tile([-1.0, 1.0, -1.0], (90, 1)))
    # (0 + 1) / (8 + 2) and (8 + 1) / (8 + 2); of the third nothing is known, and it is
    # not to be named: (0 + 1) / (1 + 2).
    expected = np.tile([0.1, 0.9, 1 / 3], (90, 1))
    np.testing.assert_allclose(fitted.probabilities(decisions), expected, rtol=1e-6)


@pytest.mark.parametrize("rare", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_of_a_kind_are_enough(descriptions, rare, count):
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
        # Nothing can be left out to choose by.
        assert fitted.costs == np.float32(1.0)


def test_the_division_is_seeded_and_threads_change_nothing():
    # Large enough that threads meet in LIBLINEAR.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 150))
    labels = noisy_labels(x, 6, noise=0.5)

    def fit(seed, jobs):
        return svm.fit(x, labels, ABOUT, seed, costs=(1.0,), jobs=jobs)

    one, other = fit(0, jobs=1), fit(0, jobs=4)
    for name in ("weights", "bias", "platt"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert np.any(fit(1, jobs=1).platt != one.platt)


def test_lengths_of_descriptions_do_not_count(descriptions, fitted):
    decisions = fitted.decisions(descriptions)
    np.testing.assert_allclose(fitted.decisions(9 * descriptions), decisions, atol=1e-5)
    nothing = fitted.decisions(np.zeros((1, 12), "float32"))
    np.testing.assert_allclose(nothing[0], fitted.bias)


def platt_by_nelder_mead(present, decisions):
    """Platt's own formulas, with an optimiser that knows no gradient."""
    positives, negatives = np.sum(present), np.sum(~present)
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)

    def loss(parameters):
        p = 1 / (1 + np.exp(-(parameters[0] * decisions + parameters[1])))
        right = np.where(present, high, low)
        return -np.sum(right * np.log(p) + (1 - right) * np.log(1 - p))

    precise = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10_000}
    return minimize(loss, [1.0, 0.0], method="Nelder-Mead", options=precise).x


def overlapping(count=60, seed=0):
    """Which images have a label, and decisions that tell so now and then."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.3
    return present, 2 * present - 1 + rng.normal(size=count)


def test_platt_scaling_is_the_optimum_of_his_loss():
    present, decisions = overlapping()
    expected = platt_by_nelder_mead(present, decisions)
    actual = svm.platt_scaling(present, decisions)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_platt_scaling_is_finite_where_decisions_are_always_right():
    present, decisions = np.repeat([False, True], 20), np.repeat([-1.0, 1.0], 20)
    # Both targets can be met: 21 / 22 and 1 / 22, with odds of 21 and of 1 / 21.
    actual = svm.platt_scaling(present, decisions)
    np.testing.assert_allclose(actual, [np.log(21), 0], atol=1e-4)


def test_platt_scaling_gives_the_probabilities_of_scikit_learn():
    present, decisions = overlapping()
    # Its calibrator takes any classifier: one whose decision is its only feature.
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


def test_platt_scaling_never_turns_the_ranking_round():
    present, decisions = overlapping()
    slope, offset = svm.platt_scaling(present, -decisions)
    assert platt_by_nelder_mead(present, -decisions)[0] < 0
    assert slope == svm.LEAST_SLOPE
    # The offset is the best one for that slope: the mean of the probabilities is right.
    target = np.where(present, (present.sum() + 1) / (present.sum() + 2), 0)
    target[~present] = 1 / ((~present).sum() + 2)

    def error(offset):
        logits = slope * -decisions + offset
        return (np.sum(1 / (1 + np.exp(-logits)) - target)) ** 2

    best = minimize_scalar(error, bounds=(-5, 5), method="bounded").x
    assert offset == pytest.approx(best, abs=1e-3)


def test_platt_scaling_sees_decisions_on_images_left_out(descriptions, labels, fitted):
    features = normalized(descriptions)
    for i, cost in enumerate(fitted.costs):
        present = labels[:, i] > 0
        decisions = left_out_decisions(features, present, cost)
        expected = platt_by_nelder_mead(present, decisions)
        np.testing.assert_allclose(fitted.platt[i], expected, rtol=0.02)


def outputs_of(descriptions):
    return {
        "scores": np.zeros((len(descriptions), 3)),
        "probabilities": np.zeros((len(descriptions), 3)),
        "region_scores": np.ones((len(descriptions), 2, 3)),
        "description": descriptions,
    }


def test_it_puts_its_decisions_in_place_of_the_networks_scores(descriptions, fitted):
    judged = fitted.postprocess(outputs_of(descriptions))
    assert set(judged) == {"scores", "probabilities", "region_scores"}
    decisions = fitted.decisions(descriptions).numpy()
    np.testing.assert_array_equal(judged["scores"], decisions)
    slope, offset = fitted.platt.T
    np.testing.assert_allclose(
        judged["probabilities"], 1 / (1 + np.exp(-slope * decisions - offset)), 1e-5
    )
    np.testing.assert_array_equal(judged["region_scores"], np.ones((90, 2, 3)))


def test_it_comes_back_equal_from_its_file(fitted, descriptions, tmp_path):
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


def test_its_file_holds_plain_arrays_and_no_pickle(fitted, tmp_path):
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
def test_what_is_no_such_file_is_said_to_be_none(fitted, tmp_path, spoil):
    path = tmp_path / "svm.npz"
    fitted.save(path)
    spoil(path)
    with pytest.raises(ValueError, match="The SVM cannot be read") as refused:
        svm.OneVsRestSVM.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_without_svm_says_so(tmp_path):
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
def test_arrays_that_do_not_belong_together_are_no_svm(change, tmp_path):
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
