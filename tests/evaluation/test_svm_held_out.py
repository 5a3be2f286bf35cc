"""Tests SVMs whose descriptions come from a network trained on part of the images."""

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from ram_tf.evaluation import svm

ABOUT = {"views": 10, "views_from": "features", "scales": [32, 40], "describe": "z"}


def memorised(rng, count=300, held_out_count=60):
    """Makes descriptions that memorised the labels of all but the last images.

    Returns:
        Descriptions, labels `(count, 2)` and the mask of the held-out images.
    """
    labels = (rng.random((count, 2)) < 0.4).astype("int8")
    held_out = np.arange(count) >= count - held_out_count
    # The evidence in all images is faint; that of memorised labels is noise in held-out
    # images.
    faint = labels + rng.normal(0, 1.0, labels.shape)
    memory = np.where(held_out[:, None], rng.normal(0.5, 0.5, labels.shape), labels)
    noise = rng.normal(0, 0.3, (count, 20))
    return np.hstack([faint, 0.5 * memory, noise]), labels, held_out


def test_the_cost_is_chosen_on_held_out_images():
    x, labels, held_out = memorised(np.random.default_rng(0))
    costs = (1e-3, 100.0)
    by_all = svm.fit(x, labels, ABOUT, costs=costs)
    by_new = svm.fit(x, labels, ABOUT, costs=costs, held_out=held_out)
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
                column[held_out], decisions[held_out]
            )
    best = costs[precisions.mean(1).argmax()]
    assert by_new.costs.tolist() == [np.float32(best)] * 2
    assert by_all.costs.tolist() != by_new.costs.tolist()
    assert (by_all.costs_chosen_by, by_new.costs_chosen_by) == (
        len(labels),
        held_out.sum(),
    )


def test_a_label_with_few_held_out_positives_does_not_choose_the_cost():
    x, labels, held_out = memorised(np.random.default_rng(0))
    rare = labels.copy()
    rare[np.flatnonzero(held_out & (labels[:, 1] > 0))[svm.MIN_POSITIVES - 1 :], 1] = 0
    costs = svm.COSTS
    both, alone = (
        svm.fit(x, chosen, ABOUT, costs=costs, held_out=held_out).costs
        for chosen in (rare, rare[:, :1])
    )
    assert both.tolist() == alone.tolist() * 2
    # If no label has enough of them, each has the cost that is best on all images.
    by_all = svm.fit(x, rare[:, 1:], ABOUT, costs=costs)
    fitted = svm.fit(x, rare[:, 1:], ABOUT, costs=costs, held_out=held_out)
    assert fitted.costs.tolist() == by_all.costs.tolist()
    assert fitted.costs_chosen_by == len(labels)


def test_platt_scaling_is_fitted_to_held_out_images():
    x, labels, held_out = memorised(np.random.default_rng(0))
    by_all = svm.fit(x, labels, ABOUT, costs=(1.0,))
    by_new = svm.fit(x, labels, ABOUT, costs=(1.0,), held_out=held_out)
    np.testing.assert_array_equal(by_new.weights, by_all.weights)
    # Fitted to memorised labels it would be too confident about new images.
    assert (by_new.platt[:, 0] < 0.7 * by_all.platt[:, 0]).all()
    # A label with few held-out positives is scaled by all images.
    labels[
        np.flatnonzero(held_out & (labels[:, 1] > 0))[svm.MIN_POSITIVES - 1 :], 1
    ] = 0
    mixed = svm.fit(x, labels, ABOUT, costs=(1.0,), held_out=held_out)
    alone = svm.fit(x, labels[:, 1:], ABOUT, costs=(1.0,))
    np.testing.assert_array_equal(mixed.platt[1], alone.platt[0])


def test_held_out_images_with_an_unknown_label_are_ignored_for_it():
    x, labels, held_out = memorised(np.random.default_rng(0))
    unknown = np.flatnonzero(held_out)[::3]
    labels[unknown] = -1
    fitted = svm.fit(x, labels, ABOUT, held_out=held_out)
    known = np.delete(np.arange(len(x)), unknown)
    expected = svm.fit(x[known], labels[known], ABOUT, held_out=held_out[known])
    for name in ("weights", "bias", "platt", "costs"):
        found, right = getattr(fitted, name), getattr(expected, name)
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)
