"""Calibration after training: a temperature, and a threshold for each label.

Both are fitted on images that the model was not trained on.
"""

import dataclasses
import itertools
import json
import reprlib

import numpy as np
from scipy import optimize

from ram_tf.metrics import multi_label, reliability
from ram_tf.models import losses

# Ours: outside this range all probabilities become 0 or 1, or all the same.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
# Thresholds of labels that cannot be fitted: that of section 5.2.2, and the highest one
# where the precision floor is out of reach.
DEFAULT_THRESHOLD, HIGHEST_THRESHOLD = 0.5, 1.0
# Ours: with fewer positives a threshold is mostly chance. For a single positive that is
# ranked last, the label would be predicted on every image.
MIN_POSITIVES = 5


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A temperature for scores and a threshold for each label's probability.

    `Calibration(1.0, (0.5,) * L)` changes nothing.

    Args:
        temperature: Divisor of the scores, 0.01 to 100. Above 1 the model was
            overconfident.
        thresholds: L thresholds in [0, 1]. A label is predicted if its calibrated
            probability is at least its threshold.
        precision_floor: Argument of `fit_thresholds`, in [0, 1]; None for best F1.
        unfitted: Indices of the labels whose thresholds `fit_thresholds` could not fit.
        error_before: Calibration error before calibration, in [0, 1], on the images of
            the fit; None where nothing was fitted.
        error_after: The same after calibration; slightly higher on other images.

    Raises:
        ValueError: A value is out of range.
    """

    temperature: float
    thresholds: tuple[float, ...]
    precision_floor: float | None = None
    unfitted: tuple[int, ...] = ()
    error_before: float | None = None
    error_after: float | None = None

    def __post_init__(self):
        if not _is_number(self.temperature, MIN_TEMPERATURE, MAX_TEMPERATURE):
            expected = f"a temperature from {MIN_TEMPERATURE} to {MAX_TEMPERATURE}"
            raise _invalid(expected, self.temperature)
        for threshold in self.thresholds:
            if not _is_number(threshold, 0, 1):
                raise _invalid("thresholds from 0 to 1", threshold)
        for name in ("precision_floor", "error_before", "error_after"):
            value = getattr(self, name)
            if value is not None and not _is_number(value, 0, 1):
                raise _invalid(f"a {name} from 0 to 1, or none", value)
        if not set(self.unfitted) <= set(range(len(self.thresholds))):
            raise _invalid("indices of labels in unfitted", self.unfitted)

    @property
    def about(self):
        """The `temperature` and the `thresholds`, each only if not the default."""
        about = {"temperature": self.temperature} if self.temperature != 1 else {}
        if any(threshold != DEFAULT_THRESHOLD for threshold in self.thresholds):
            about["thresholds"] = list(self.thresholds)
        return about

    def probabilities(self, scores, loss):
        """Returns the calibrated probabilities of scores, also inside a graph.

        With sigmoids, the temperature changes no label's ranking of the images and no
        AP (except that float32 rounds sigmoids above about 16 to 1). A softmax keeps
        the order of the labels within an image, but the ranking **between** images may
        change, since a probability depends on the image's other scores.

        >>> scores = np.array([[1.0, 0.0, 0.0], [3.0, 2.9, -9.0]])
        >>> for temperature in (1.0, 4.0):
        ...     calibration = Calibration(temperature, (0.5,) * 3)
        ...     probabilities = calibration.probabilities(scores, "euclidean").numpy()
        ...     print(probabilities[:, 0].round(2))
        [0.58 0.52]
        [0.39 0.49]

        Args:
            scores: `(..., L)` floats, NumPy or TensorFlow.
            loss: Loss that the model was trained with, see `losses.probabilities`.

        Returns:
            `(..., L)` float32 tensor in [0, 1].
        """
        return losses.probabilities(scores / self.temperature, loss)

    def to_json(self, label_names):
        """Returns the text of a `calibration.json`, with labels by name.

        Raises:
            ValueError: The names are not as many as the thresholds, or not unique.
        """
        names = list(label_names)
        if len(names) != len(self.thresholds) or len(set(names)) != len(names):
            raise _invalid(f"{len(self.thresholds)} different label names", names)
        content = dataclasses.asdict(self)
        content["thresholds"] = dict(zip(names, self.thresholds, strict=True))
        content["unfitted"] = [names[index] for index in self.unfitted]
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text, label_names):
        """Reads the text that `to_json` wrote for a model with these labels.

        Raises:
            ValueError: The text is no calibration, or one of other labels.
        """
        names = list(label_names)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _invalid("JSON", text) from error
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(content, dict) or set(content) != set(fields):
            raise _invalid(f"the fields {', '.join(fields)}", content)
        thresholds, unfitted = content["thresholds"], content["unfitted"]
        if not isinstance(thresholds, dict):
            raise _invalid("thresholds by label name", thresholds)
        for name, stored in itertools.zip_longest(names, thresholds):
            if name != stored:
                expected = f"the model's labels in their order, here {name!r}"
                raise _invalid(expected, stored)
        if not isinstance(unfitted, list) or any(n not in names for n in unfitted):
            raise _invalid("a list of unfitted labels of the model", unfitted)
        content["thresholds"] = tuple(thresholds.values())
        content["unfitted"] = tuple(map(names.index, unfitted))
        return cls(**content)


class CalibratedView:
    """A `MultiView` with calibrated probabilities.

    Args:
        view: The `MultiView` whose scores the temperature was fitted to.
        calibration: The `Calibration`.

    Call arguments:
        images: See `MultiView`.

    Returns:
        The outputs of `MultiView` with calibrated probabilities.
    """

    def __init__(self, view, calibration):
        self.view = view
        self.calibration = calibration
        self.models, self.sizes, self.crops = view.models, view.sizes, view.crops

    @property
    def about(self):
        return {**self.view.about, **self.calibration.about}

    def __call__(self, images):
        return self.postprocess(self.view(images))

    def postprocess(self, outputs):
        """Calibrates the probabilities of a dict of tensors or arrays."""
        loss = self.models[0].objective.loss
        probabilities = self.calibration.probabilities(outputs["scores"], loss)
        return {**outputs, "probabilities": probabilities}


def _is_number(value, low, high):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high


def _invalid(expected, received):
    # Shortened and escaped, since the file may come from an untrusted source.
    return ValueError(
        f"The calibration is invalid. Expected {expected}. "
        f"Received: {reprlib.repr(received)}"
    )


def fit(labels, scores, loss, precision_floor=None):
    """Fits a temperature, then thresholds on the calibrated probabilities.

    Args:
        labels: `(n, L)` 1, 0 or -1 of images that the model was not trained on.
        scores: `(n, L)` finite scores for these images, computed in the same way as
            those to calibrate, for instance with the same number of views.
        loss: Key of `losses.CLASSIFICATION` that the model was trained with.
        precision_floor: See `fit_thresholds`.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: No label is known, or an argument is out of range.
    """
    labels, scores = multi_label.checked(labels, scores)
    if not (labels >= 0).any():
        raise ValueError(
            "There are no labels to calibrate on. Expected images with known labels. "
            f"Received: labels of shape {labels.shape}, none known"
        )
    temperature = fit_temperature(labels, scores, loss)
    before = losses.probabilities(scores, loss).numpy()
    after = losses.probabilities(scores / temperature, loss).numpy()
    thresholds, unfitted = fit_thresholds(labels, after, precision_floor, MIN_POSITIVES)
    return Calibration(
        temperature,
        tuple(thresholds.tolist()),
        precision_floor,
        tuple(unfitted),
        reliability.calibration_error(labels, before),
        reliability.calibration_error(labels, after),
    )


def fit_temperature(labels, scores, loss):
    """Fits the temperature T at which `scores / T` make the labels most likely.

    Minimises the negative log likelihood: for `"bce"` and `"asl"` that of the sigmoids
    over all known (image, label) pairs; for `"euclidean"` that of the softmax over an
    image's known labels against its L1-normalised labels (Eq. 7), over the images with
    a present label. Both are convex in 1 / T, so the minimum is unique.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)` finite scores.
        loss: Key of `losses.CLASSIFICATION`.

    Returns:
        A float between 0.01 and 100. It is 1 (no change) where no minimum exists:
        without present or without absent labels, with scores that separate them without
        a mistake, and with scores that separate them no better than chance.

    Raises:
        ValueError: The scores are not finite or not of the labels' shape, or the loss
            is unknown.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2,
        https://arxiv.org/abs/1706.04599; sigmoids per label: ours.
    """
    labels, scores = multi_label.checked(labels, scores)
    if loss not in losses.CLASSIFICATION:
        raise ValueError(
            f"Unknown loss. Expected one of: {sorted(losses.CLASSIFICATION)}. "
            f"Received: loss={loss!r}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            "Scores are not finite. Expected finite scores to calibrate. Received: "
            f"{np.isinf(scores).sum()} infinite of {scores.size}"
        )
    known, present = labels >= 0, labels > 0
    if not present.any() or present[known].all():
        return 1.0
    if loss == "euclidean":
        rows = present.any(1)
        # As in `losses.euclidean`: low enough to make its probability 0.
        logits = np.where(known, scores, -1e9)[rows]
        targets = present[rows] / present[rows].sum(1, keepdims=True)
    else:
        # A sigmoid is the softmax of a score and 0.
        logits = np.stack([scores[known], np.zeros(known.sum())], 1)
        targets = np.stack([present[known], ~present[known]], 1)
    # Relative to the highest, so that no exponential overflows.
    logits -= logits.max(1, keepdims=True)
    target_logits = (targets * logits).sum(1)

    def cost(log_temperature):
        temperature = np.exp(log_temperature)
        partition = np.log(np.exp(logits / temperature).sum(1))
        return (partition - target_logits / temperature).mean()

    bounds = np.log([MIN_TEMPERATURE, MAX_TEMPERATURE])
    best = optimize.minimize_scalar(cost, bounds=bounds, method="bounded")
    if best.fun >= min(map(cost, bounds)):
        return 1.0
    return float(np.exp(best.x))


def fit_thresholds(labels, probabilities, precision_floor=None, min_positives=1):
    """Fits each label's threshold: best F1, or best recall above a precision floor.

    A threshold lies midway between the lowest predicted probability and the next lower
    one (0 after the last). Equal probabilities are on the same side of it. Of equally
    good thresholds the highest is taken.

    Thresholds of rare labels are uncertain. For best F1, a label with uninformative
    probabilities is predicted on every image; with calibrated ones, the threshold is
    half of the F1 that it reaches.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are left out.
        probabilities: `(n, L)` in [0, 1].
        precision_floor: Lowest accepted precision, in [0, 1]; None for best F1.
        min_positives: Labels with fewer positives are not fitted.

    Returns:
        `(thresholds, unfitted)`: `(L,)` float64 in [0, 1], and the indices of the
        labels that are not fitted. These have a threshold of 0.5 with too few
        positives, and of 1 where the floor is out of reach.

    Raises:
        ValueError: An argument is out of range.

    Reference:
        Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure,
        ECML PKDD 2014, https://arxiv.org/abs/1402.1892
    """
    labels, probabilities = reliability.checked(labels, probabilities)
    if precision_floor is not None and not 0 <= precision_floor <= 1:
        raise ValueError(
            "The precision floor is out of range. Expected 0 to 1, or None. "
            f"Received: precision_floor={precision_floor}"
        )
    thresholds, unfitted = np.full(labels.shape[1], DEFAULT_THRESHOLD), []
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        order = np.argsort(-probabilities[known, index])
        ranked = probabilities[known, index][order]
        present = labels[known, index][order] > 0
        if present.sum() < max(1, min_positives):
            unfitted.append(index)
            continue
        following = np.append(ranked[1:], -np.inf)
        correct, predicted = np.cumsum(present), np.arange(1, len(ranked) + 1)
        if precision_floor is None:
            quality = 2 * correct / (predicted + correct[-1])  # F1
        else:
            quality = np.where(correct / predicted >= precision_floor, correct, 0)
        quality[ranked == following] = 0  # no threshold separates equal probabilities
        best = np.argmax(quality)
        if quality[best]:
            thresholds[index] = (ranked[best] + max(0, following[best])) / 2
        else:
            thresholds[index] = HIGHEST_THRESHOLD
            unfitted.append(index)
    return thresholds, unfitted
