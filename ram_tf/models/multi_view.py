"""Inference on several views of an image, usually cut from features (section 5.1).

The `N x N` image and its mirror image go through the backbone once each. The five crops
of each (four corners and the centre) are then cut from its feature map, and the
recurrent module processes all views of a batch together.
"""

from typing import NamedTuple

import tensorflow as tf

from ram_tf.models import losses
from ram_tf.models.attention.spatial_transformer import sample_region
from ram_tf.models.choices import DESCRIPTIONS
from ram_tf.models.networks import AttentionModel, crop_to_image

COUNTS = (1, 5, 10)
SOURCES = ("features", "image")


class ScaledModel(NamedTuple):
    """A model and the size of its input images.

    Args:
        model: An `RDAR` or `RARL`.
        size: N: images are resized to N x N.
        crop: Edge of a view in pixels, N - 64 in the paper.
        stride: Pixels of the image per cell of the backbone's feature map.
    """

    model: AttentionModel
    size: int
    crop: int
    stride: int


def offsets(size, crop, count):
    """Returns the top left corners of an image's crops: centre, then four corners.

    Args:
        size: Edge of the image in pixels.
        crop: Edge of a crop in pixels.
        count: 1 for the centre crop only, or 5.

    Returns:
        A list of `(top, left)` in pixels.
    """
    last = size - crop
    centre = last // 2
    corners = [(0, 0), (0, last), (last, 0), (last, last)]
    return [(centre, centre), *corners][:count]


def cut_features(maps, size, crop, stride, count):
    """Cuts the crops of an image from its feature map instead of from the image.

    A crop that does not start on the border of a cell is sampled bilinearly.

    Args:
        maps: `(B, H, W, C)`, the feature maps of images of `size` x `size`; H and W
            must be known.
        size: Edge of the images in pixels, a multiple of `stride`.
        crop: Edge of a crop in pixels, a multiple of `stride`.
        stride: Pixels per cell.
        count: 1 or 5, see `offsets`.

    Returns:
        `(B, count, h, w, C)`, `crop / stride` cells high and wide.
    """
    cells = crop // stride
    views = []
    for corner in offsets(size, crop, count):
        (s_y, t_y), (s_x, t_x) = (
            _scale_and_translation(start + crop / 2, stride, cells, edge)
            for start, edge in zip(corner, maps.shape[1:3], strict=True)
        )
        theta = tf.tile([[s_x, s_y, t_x, t_y]], [tf.shape(maps)[0], 1])
        views.append(sample_region(maps, theta, (cells, cells)))
    return tf.stack(views, 1)


def _scale_and_translation(middle, stride, cells, edge):
    """Returns scale and translation of `cells` around a pixel, on `edge` cells."""
    return cells / edge, 2 * middle / (stride * edge) - 1


def cut_images(images, size, crop, count):
    """Cuts the crops of images `(B, size, size, 3)`: `(B, count, crop, crop, 3)`."""
    corners = offsets(size, crop, count)
    return tf.stack([images[:, y : y + crop, x : x + crop] for y, x in corners], 1)


def one_by_one(backbone, views):
    """Sends the views of images through a backbone, one view after another.

    All views at once would need V times the memory: with VGG-16, the activations of ten
    views of eight images fill tens of gigabytes.

    Args:
        backbone: Maps images `(B, crop, crop, 3)` to feature maps `(B, h, w, C)`.
        views: `(B, V, crop, crop, 3)`.

    Returns:
        `(B, V, h, w, C)`.
    """
    if views.shape[1] == 1:
        # The plain model, as it is served, without a loop.
        return backbone(views[:, 0])[:, None]
    # A loop of the graph, since the iterations of a Python loop would run in parallel.
    maps = tf.map_fn(
        backbone,
        tf.transpose(views, [1, 0, 2, 3, 4]),
        parallel_iterations=1,
        fn_output_signature=backbone.compute_dtype,
    )
    return tf.transpose(maps, [1, 0, 2, 3, 4])


class MultiView:
    """Averages the predictions for several views and scales of an image.

    For each view, the scores and the descriptions of its regions are fused by maximum
    (Eq. 6); then views are averaged, then scales. Scores are averaged before they
    become probabilities (ours; the paper averages features, which an SVM then scores).

    One view from the image is the plain model on its centre crop (table 6,
    single-crop), which is how images are served.

    Args:
        members: `ScaledModel`s: one model at one or more sizes, or models of the same
            labels and loss, each at its own size.
        count: 1 (centre), 5 (and the corners) or 10 (and their mirror images).
        source: "features" cuts the views from the feature maps of the whole image and
            its mirror image; "image", the reference, sends one crop after another
            through the backbone.
        describe: See `RegionLSTM`; None for no description.

    Call arguments:
        inputs: A tuple of `(B, N, N, 3)` images in [0, 255] for each member's N, or of
            their centre crops for one view (see `crops`), followed, for models that
            take given regions, by `(B, K, 4)` boxes `ymin, xmin, ymax, xmax` as
            fractions of these images.

    Returns:
        The dict of `ram_tf.models.networks`. `scores` and `probabilities` are those of
        all views; `regions`, `boxes` and `region_scores` those of the first member's
        centre view. With `describe` also `description` `(B, D)`: the average over
        scales if the members are one model; otherwise the concatenation of each model's
        L2-normalised description (ours, because the axes of two models are unrelated).
    """

    def __init__(self, members, count=1, source="image", describe=None):
        if count not in COUNTS or source not in SOURCES:
            raise ValueError(
                f"Unknown views. Expected a count of {COUNTS} and a source of "
                f"{SOURCES}. Received: count={count}, source={source!r}"
            )
        if describe not in (None, *DESCRIPTIONS):
            raise ValueError(
                "Unknown description of a region. Expected None or one of "
                f"{DESCRIPTIONS}. Received: {describe!r}"
            )
        self.members = tuple(members)
        if count > 1 and any(m.model.attention.given_regions for m in self.members):
            raise ValueError(
                "Object proposals are supported in the centre view only, as in table "
                f"3. Expected one view. Received: count={count}"
            )
        self.count = count
        self.source = source
        self.describe = describe

    def joined_with(self, *others):
        """Returns a `MultiView` with the members of others in addition to its own."""
        members = [m for view in (self, *others) for m in view.members]
        return MultiView(members, self.count, self.source, self.describe)

    @property
    def models(self):
        """The models of all members, each once."""
        return tuple({id(m.model): m.model for m in self.members}.values())

    @property
    def sizes(self):
        """The edge N that images are resized to, for each image input."""
        return tuple(member.size for member in self.members)

    @property
    def crops(self):
        """The edge of the central pixels that are used, for each image input.

        It is N unless there is one view from the image, which needs only its crop.
        """
        whole = self.count > 1 or self.source == "features"
        return tuple(m.size if whole else m.crop for m in self.members)

    @property
    def about(self):
        """The options that affect scores and descriptions, as JSON values."""
        return {
            "views": self.count,
            "views_from": self.source,
            "scales": list(self.sizes),
            "crops": [member.crop for member in self.members],
            "describe": self.describe,
            "models": len(self.models),
        }

    def __call__(self, inputs):
        images, boxes = inputs[: len(self.members)], inputs[len(self.members) :]
        results = [
            self._outputs_of(member, batch, *boxes)
            for member, batch in zip(self.members, images, strict=True)
        ]
        outputs, scores, descriptions = zip(*results, strict=True)
        scores = tf.reduce_mean(scores, 0)
        loss = self.members[0].model.objective.loss
        fused = {
            **outputs[0],
            "scores": scores,
            "probabilities": losses.probabilities(scores, loss),
        }
        if self.describe:
            fused["description"] = self._join_descriptions(descriptions)
        return fused

    def _outputs_of(self, member, images, boxes=None):
        """Returns a member's centre outputs, its mean scores and its description."""
        model, size, crop, stride = member
        sides = [images] if self.count < 10 else [images, images[:, :, ::-1]]
        per_side = min(self.count, 5)
        if self.source == "features":
            maps = [
                cut_features(model.backbone(side), size, crop, stride, per_side)
                for side in sides
            ]
            maps = tf.concat(maps, 1)  # (B, V, h, w, C)
        else:
            # The images may be the centre crops already.
            edge = images.shape[1]
            views = [cut_images(side, edge, crop, per_side) for side in sides]
            maps = one_by_one(model.backbone, tf.concat(views, 1))
        maps = tf.reshape(maps, [-1, *maps.shape[2:]])
        if boxes is not None:
            boxes = crop_to_image(boxes, images.shape[1] / crop)
        outputs = model.attend(
            maps, boxes, crop_fraction=crop / size, describe=self.describe
        )
        outputs = {
            name: tf.reshape(value, [-1, self.count, *value.shape[1:]])
            for name, value in outputs.items()
        }
        scores = tf.reduce_mean(outputs["scores"], 1)
        description = outputs.pop("descriptions", None)
        if description is not None:
            description = tf.reduce_mean(tf.reduce_max(description, 2), 1)
        centre = {name: value[:, 0] for name, value in outputs.items()}
        return centre, scores, description

    def _join_descriptions(self, descriptions):
        if len(self.models) == 1:
            return tf.reduce_mean(descriptions, 0)
        return tf.concat([tf.math.l2_normalize(d, -1) for d in descriptions], -1)
