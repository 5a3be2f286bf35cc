"""The complete models: images in, scores and the regions that predicted them out.

A model returns a dict with the same keys in training, evaluation, the exported
signature and the reply of a server:

- `scores` `(B, L)`: category-wise maximum over the regions (Eq. 6).
- `probabilities` `(B, L)`: softmax of the scores under the Euclidean loss, sigmoid
  under the others.
- `regions` `(B, K, 2, 3)`: the matrices of Eq. 1, relative to the model's input.
- `boxes` `(B, K, 4)`: `ymin, xmin, ymax, xmax` as fractions of the original image.
- `region_scores` `(B, K, L)`.

K is the number of regions: K of RDAR, T k of RARL.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ram_tf.models import evidence_map, losses, policy_gradient
from ram_tf.models.attention.recurrent_attention import RecurrentMemorizedAttention
from ram_tf.models.attention.region_attention import RegionAttention
from ram_tf.models.attention.region_lstm import pool_region
from ram_tf.models.attention.reinforced_attention import ReinforcedAttention
from ram_tf.models.attention.spatial_transformer import (
    WHOLE_MAP,
    box_to_theta,
    matrix_to_box,
    sample_region,
)
from ram_tf.models.objectives import Objective, ReinforceObjective


class ReplicatedModel(keras.Model):
    """A model that `fit` trains under every `tf.distribute` strategy.

    `Model.fit` of Keras 3.15 fails under a `MultiWorkerMirroredStrategy`: it builds the
    model from a batch that is spread over several workers, and averages the logs of a
    step over an axis that scalars do not have. On one device nothing is changed.

    The model must be built before `fit`. Its loss must be that of a device's part of
    the batch, divided by the number of devices.
    """

    train_function: Any

    def make_train_function(self, force: bool = False) -> None:
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            super().make_train_function(force)
        elif force or self.train_function is None:

            @tf.function(autograph=False)
            def step(iterator):
                logs = strategy.run(self.train_step, args=(next(iterator),))
                return {n: strategy.reduce("MEAN", v, None) for n, v in logs.items()}

            self.train_function = step

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass


class MultiLabelModel(ReplicatedModel):
    """The base of all models: backbone, objective, and the values logged in training.

    Args:
        backbone: Maps images `(B, H, W, 3)` in [0, 255] to features `(B, H', W', C)`.
        objective: An `Objective` or a `ReinforceObjective`.
        logged: Names of the objective's terms and of the `extra_metrics` that are
            logged in training.
    """

    def __init__(
        self,
        backbone: keras.Model,
        objective: Objective | ReinforceObjective,
        logged: Sequence[str] = ("classification",),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.backbone = backbone
        self.objective = objective
        # Weights files contain the name of this attribute: it must not change.
        self.shown_means = {name: keras.metrics.Mean(name) for name in logged}

    def extra_metrics(
        self, labels: tf.Tensor, outputs: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns the values that are logged but not minimised, by name."""
        return {}

    def compute_loss(
        self,
        x: Any = None,
        y: tf.Tensor | None = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        terms = self.objective.terms(y, y_pred)
        for name, value in terms.items():
            self.shown_means[name].update_state(value)
        extra = self.extra_metrics(y, y_pred)
        if extra:
            images = tf.reduce_sum(tf.cast(policy_gradient.has_labels(y), tf.float32))
            for name, value in extra.items():
                self.shown_means[name].update_state(value, images)
        # The gradients of the devices, each from its part of the batch, are summed.
        return sum(terms.values()) / tf.distribute.get_strategy().num_replicas_in_sync


class PooledClassifier(MultiLabelModel):
    """The CNN of step 1: one feature vector for the whole image, one classifier.

    It is trained before the attention model, which starts from its weights (section
    5.1), and is the baseline that every result is compared with. Its layers match those
    of `RegionLSTM`: `feature` is `W_fx`, `classifier` is `W_zs`.

    Args:
        backbone: Maps images `(B, H, W, 3)` in [0, 255] to features `(B, H', W', C)`.
        num_labels: L.
        objective: An `Objective`, whose classification loss is used.
        pooling: "average" or "max" over the feature map, or "flatten": the map sampled
            to `region_size` and 2x2 max-pooled, as the attention model does with a
            region.
        units: Width of the hidden layer `feature`; None for a linear classifier.
        region_size: `(h, w)`; for "flatten" only.
        dropout: Share of the pooled features set to zero in training.

    Call arguments:
        images: `(B, H, W, 3)` in [0, 255].
        training: Whether dropout acts.
        with_evidence: Whether to return where the evidence for each label lies, too.

    Returns:
        A dict of float32 `scores` and `probabilities`, both `(B, L)`. With evidence,
        where `has_evidence`, also `evidence` `(B, L, 2)`: `y, x` as fractions of the
        images, see `ram_tf.models.evidence_map.points`.
    """

    def __init__(
        self,
        backbone,
        num_labels,
        objective,
        pooling="average",
        units=None,
        region_size=(14, 14),
        dropout=0.5,
        **kwargs,
    ):
        super().__init__(backbone, objective, **kwargs)
        self.pooling = pooling
        self.region_size = region_size
        self.pooled_dropout = keras.layers.Dropout(dropout)
        self.feature = None
        if units:
            self.feature = keras.layers.Dense(units, "relu", name="W_fx")
        self.classifier = keras.layers.Dense(num_labels, dtype="float32", name="W_zs")

    @property
    def has_evidence(self):
        """Whether cells can be scored: it is linear and pools all cells alike."""
        return not self.feature and self.pooling != "flatten"

    def pool(self, images):
        """Computes the feature vectors `(B, D)` of images, before dropout."""
        return self._pool(self.backbone(images))

    def _pool(self, features):
        if self.pooling == "flatten":
            whole = tf.tile([WHOLE_MAP], [tf.shape(features)[0], 1])
            features = sample_region(features, whole, self.region_size)
        return pool_region(features, self.pooling)

    def call(self, images, training=False, with_evidence=False):
        features = self.backbone(images)
        x = self.pooled_dropout(self._pool(features), training=training)
        if self.feature:
            x = self.feature(x)
        scores = self.classifier(x)
        probabilities = losses.probabilities(scores, self.objective.loss)
        outputs = {"scores": scores, "probabilities": probabilities}
        if with_evidence and self.has_evidence:
            outputs["evidence"] = evidence_map.points(self.classifier(features))
        return outputs


class AttentionModel(MultiLabelModel):
    """The base of RDAR and RARL: fuses the scores of regions and computes their boxes.

    Args:
        backbone: Maps images `(B, H, W, 3)` in [0, 255] to features `(B, H', W', C)`.
        attention: Maps features to the scores and matrices of regions.
        objective: See `MultiLabelModel`.
        crop_fraction: Edge of the crop that is the model's input over the edge of the
            resized image, (N - 64) / N in the paper: it maps boxes back to the whole
            image.
        logged: See `MultiLabelModel`.

    Call arguments:
        inputs: `(B, H, W, 3)` images in [0, 255], centre crops; H and W may be unknown.
            If the attention takes given regions, a pair of images and `(B, K, 4)`
            boxes, `ymin, xmin, ymax, xmax` as fractions of the crop.
        training: Whether dropout acts, and whether RARL samples episodes.

    Returns:
        The dict described in this module's docstring, float32.
    """

    def __init__(
        self,
        backbone: keras.Model,
        attention: RegionAttention,
        objective: Objective | ReinforceObjective,
        crop_fraction: float = 1.0,
        logged: Sequence[str] = (),
        **kwargs: Any,
    ):
        # Keras would cast boxes to half precision together with the images.
        autocast = not attention.given_regions
        super().__init__(backbone, objective, logged, autocast=autocast, **kwargs)
        self.attention = attention
        self.crop_fraction = crop_fraction

    def call(
        self, inputs: tf.Tensor | tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        images, boxes = inputs if isinstance(inputs, tuple) else (inputs, None)
        return self.attend(self.backbone(images), boxes, training)

    def attend(
        self,
        features: tf.Tensor,
        boxes: tf.Tensor | None = None,
        training: bool = False,
        crop_fraction: float | None = None,
        describe: str | None = None,
    ) -> dict[str, tf.Tensor]:
        """Does what `call` does after the backbone.

        Args:
            features: `(B, H', W', C)` feature maps of the model's inputs.
            boxes: The given regions, see `call`; None if the model finds them.
            training: See `call`.
            crop_fraction: Replaces the model's own.
            describe: See `RecurrentMemorizedAttention`.

        Returns:
            The dict described in this module's docstring, with `describe` also
            `descriptions` `(B, K, D)`; in training also the attention's outputs for the
            loss.

        Raises:
            ValueError: The model takes given regions and `boxes` is None.
        """
        if self.attention.given_regions and boxes is None:
            raise ValueError(
                "This model takes object proposals, which its graph cannot compute: it "
                "can be trained and evaluated, but not exported or used for "
                "prediction. Expected images and boxes. Received: images only"
            )
        given = {} if boxes is None else {"theta": box_to_theta(boxes)}
        outputs = self.attention(
            features, training=training, describe=describe, **given
        )
        scores = tf.reduce_max(outputs["region_scores"], 1)  # (B, L), Eq. 6
        boxes = matrix_to_box(outputs["regions"], clip=False)
        boxes = crop_to_image(boxes, crop_fraction or self.crop_fraction)
        return {
            **outputs,
            "scores": scores,
            "probabilities": losses.probabilities(scores, self.objective.loss),
            "boxes": tf.clip_by_value(boxes, 0.0, 1.0),
        }


class RDAR(AttentionModel):
    """The model of Recurrently Discovering Attentional Regions (ICCV 2017).

    Its attention is a `RecurrentMemorizedAttention`, its objective an `Objective`.
    """

    def __init__(
        self,
        backbone: keras.Model,
        attention: RecurrentMemorizedAttention,
        objective: Objective,
        crop_fraction: float = 1.0,
        **kwargs: Any,
    ):
        logged = ("classification", "localization")
        super().__init__(
            backbone, attention, objective, crop_fraction, logged, **kwargs
        )


class RARL(AttentionModel):
    """The model of Recurrent Attentional Reinforcement Learning (AAAI 2018).

    Its attention is a `ReinforcedAttention`, its objective a `ReinforceObjective`.
    """

    objective: ReinforceObjective

    def __init__(
        self,
        backbone: keras.Model,
        attention: ReinforcedAttention,
        objective: ReinforceObjective,
        crop_fraction: float = 1.0,
        **kwargs: Any,
    ):
        logged: tuple[str, ...] = ("classification", "reward")
        if attention.learns_locations:
            logged += ("reinforce", "baseline", "advantage", "baseline_error")
        super().__init__(
            backbone, attention, objective, crop_fraction, logged, **kwargs
        )

    def extra_metrics(
        self, labels: tf.Tensor, outputs: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        return self.objective.extra_metrics(labels, outputs)


def crop_to_image(points, crop_fraction):
    """Maps fractions of a centre crop to fractions of the image it was cut from.

    With `1 / crop_fraction` it maps fractions of the image to fractions of the crop.
    """
    return (points - 0.5) * crop_fraction + 0.5
