"""The settings of a run in groups, each with its default, its range and its help text.

Every field is a flag of the same name, as `setting_flags` says, or of the name in its
`flag`. Defaults are the paper's (section 5.1) where it speaks.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ram_tf.data import datasets
from ram_tf.models import backbones, losses
from ram_tf.models.attention import region_attention


class Range(NamedTuple):
    """The values that a number may have.

    Args:
        expected: Which these are, in words.
        holds: Whether a value is one of them.
    """

    expected: str
    holds: Callable[[float], bool]


FROM_1 = Range("1 or more", lambda value: value >= 1)
FROM_0 = Range("0 or more", lambda value: value >= 0)
ABOVE_0 = Range("more than 0", lambda value: value > 0)
BELOW_1 = Range("0 or more and below 1", lambda value: 0 <= value < 1)
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)


def option(default, explanation, choices=None, within=None, only=None, flag=None):
    """A field of a group of settings.

    Args:
        default: Its value where none is given.
        explanation: What `--help` says of it.
        choices: Its allowed values, or None for any.
        within: The `Range` of a number, or None for any.
        only: The one model that it is a setting of, or None for both.
        flag: Its name on the command line, where that is not the field's.
    """
    if only:
        explanation = f"{only}: {explanation}"
    metadata = {
        "explanation": explanation,
        "choices": choices,
        "within": within,
        "only": only,
        "flag": flag,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which images are read, and as what."""

    dataset: str = option("digits", "what to learn", datasets.NAMES)
    data_dir: str = option(
        "",
        "folder of the data set; empty: digits need none, voc and coco come through "
        "tensorflow-datasets",
    )
    train_split: str = option("", "split to train on; empty: the data set's own")
    val_split: str = option(
        "",
        "split that selects the best epoch; empty: the data set's own, or else a tenth "
        "of the training split is held back",
    )
    report_split: str = option("", "split read once, at the end; empty: the data set's")
    split_fraction: str = option(
        "0.8,0.1,0.1", "shares of train, val and test of a single csv"
    )
    year: int = option(0, "of COCO, 2014 or 2017; 0: the one in its folder")
    manual_dir: str = option("", "archives for tensorflow-datasets, to work offline")
    difficult: str = option(
        "unknown",
        "what VOC's difficult objects count as",
        ("unknown", "positive", "negative"),
    )
    skip_unreadable: bool = option(
        False, "leave out images that cannot be read instead of stopping"
    )
    max_pixels: int = option(50_000_000, "larger images are refused", within=FROM_1)

    @property
    def fractions(self):
        """`split_fraction` as numbers.

        Raises:
            ValueError: It is no list of three numbers.
        """
        try:
            train, val, test = map(float, self.split_fraction.split(","))
        except ValueError as error:
            raise ValueError(
                "split_fraction is no division. Expected three numbers such as "
                f"0.8,0.1,0.1. Received: {self.split_fraction!r}"
            ) from error
        return train, val, test


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """From an image to what the model sees."""

    image_size: int = option(
        512,
        "N: images are resized to N x N; without the margin a multiple of the "
        "backbone's pixels per cell",
    )
    crop_margin: int = option(64, "the model sees crops of N - MARGIN", within=FROM_0)
    flip: bool = option(True, "mirror training images at random")
    zooms: str = option(
        "1",
        "factors of N, one drawn for each training image, that it is resized to before "
        "it is cropped; 1,1,1.25,1.5 shows half of the crops larger",
    )
    colour_jitter: float = option(
        0.0,
        "how much the colours of training images change at random, 0 to 1",
        within=SHARE,
    )

    @property
    def crop(self):
        """Edge of what the model sees, in pixels."""
        return self.image_size - self.crop_margin

    @property
    def zoom_factors(self):
        """`zooms` as numbers.

        Raises:
            ValueError: It is no list of numbers.
        """
        try:
            return tuple(map(float, self.zooms.split(",")))
        except ValueError as error:
            raise ValueError(
                "zooms is no list of factors. Expected numbers such as 1,1.25. "
                f"Received: {self.zooms!r}"
            ) from error


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The backbone, and the pooled classifier of step 1."""

    kind: str = option(
        "rdar",
        "the attention model: rdar finds regions by gradients (ICCV 2017), rarl by a "
        "policy that is rewarded for right labels (AAAI 2018)",
        ("rdar", "rarl"),
        flag="model",
    )
    backbone: str = option("vgg16", "feature extractor", tuple(backbones.BACKBONES))
    weights: str = option("imagenet", "its weights: imagenet, none, or a file")
    frozen: float = option(
        0.0,
        "share of the backbone's layers, from the image on, that are not trained",
        within=BELOW_1,
    )
    pooling: str = option(
        "average",
        "pooling of step 1; best: average and maximum are both trained and the one "
        "that selection prefers is kept",
        ("average", "max", "flatten", "best"),
    )
    pooled_units: int = option(
        0,
        "width of step 1's hidden layer, the W_fx to be; 0: a linear classifier",
        within=FROM_0,
    )
    dropout: float = option(
        0.5, "share of features set to zero in training", within=BELOW_1
    )


@dataclasses.dataclass(frozen=True)
class AttentionSettings:
    """How regions are found and scored."""

    regions: int = option(
        5, "K, how many regions are looked at", only="rdar", within=FROM_1
    )
    steps: int = option(
        5,
        "T, how many locations are looked at, with nine regions each",
        only="rarl",
        within=FROM_1,
    )
    locations: str = option(
        "learnt",
        "where it looks: where its policy says, at random, or at the places that "
        "regions start from under --starts anchors; the last two to compare with",
        ("learnt", "random", "anchors"),
        only="rarl",
    )
    sigma: float = option(
        0.2,
        "standard deviation of sampled locations in training, where the image "
        "runs from -1 to 1",
        only="rarl",
        within=ABOVE_0,
    )
    episodes: int = option(
        2,
        "M, sequences of locations sampled for each image in a step",
        only="rarl",
        within=FROM_1,
    )
    region_size: int = option(14, "edge of a sampled region in cells", within=FROM_1)
    region_pooling: str = option(
        "flatten", "region to vector", ("flatten", "average", "max", "centre")
    )
    layout_channels: int = option(
        0,
        "channels of a region that W_fx sees cell by cell beside pooled ones",
        within=FROM_0,
    )
    units: int = option(4096, "width of W_fx and of the LSTM", within=ABOVE_0)
    region_source: str = option(
        "attention",
        "where regions come from: found by the model, or the K best object proposals "
        "of EdgeBoxes (table 3), which can be evaluated but not served",
        ("attention", "proposals"),
    )
    localization: str = option(
        "linear",
        "what finds the next region: the paper's linear layer (Eq. 5), which does not "
        "see the map, or its content: where it shows most of what is probable and not "
        "yet explained",
        region_attention.LOCALIZATIONS,
    )
    starts: str = option(
        "whole",
        "where regions start: by Xavier around the whole map with one shared bias (the "
        "paper's Eq. 5; rarl: in the middle), or each at its anchor, the first in the "
        "middle, with a W_zm and b_m (rarl: W_loc and b_loc) of its own",
        ("whole", "anchors"),
    )
    start_scale: float = option(
        0.5, "with starts at anchors: scale of the regions", only="rdar", within=ABOVE_0
    )
    head_start: str = option(
        "xavier",
        "start of W_fx, LSTM, W_hz and W_zs: Xavier; with W_fx from step 1's hidden "
        "layer; or all so that a region is scored as step 1's classifier scores it",
        ("xavier", "feature", "pooled"),
    )
    context: float = option(
        0.5,
        "head_start pooled: share of the whole image in a region's first scores",
        within=SHARE,
    )


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """What training minimises."""

    classification: str = option(
        "euclidean", "classification loss", tuple(losses.CLASSIFICATION), flag="loss"
    )
    gamma: float = option(
        0.1, "weight of the localisation loss (Eq. 14)", only="rdar", within=FROM_0
    )
    lambda_anchor: float = option(
        0.01, "lambda 1 of Eq. 13", only="rdar", within=FROM_0
    )
    lambda_positive: float = option(
        0.1, "lambda 2 of Eq. 13", only="rdar", within=FROM_0
    )
    alpha: float = option(
        0.5, "largest free scale of a region (Eq. 11)", only="rdar", within=FROM_0
    )
    beta: float = option(
        0.1, "smallest free scale of a region (Eq. 12)", only="rdar", within=FROM_0
    )
    constraints: str = option(
        "ASP", "constraints in force, by letter: anchor, scale, positive", only="rdar"
    )
    lambda_reinforce: float = option(
        1.0, "weight of the policy gradient", only="rarl", within=FROM_0
    )
    lambda_baseline: float = option(
        1.0,
        "weight of the squared error of the expected reward",
        only="rarl",
        within=FROM_0,
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """The two training steps."""

    batch_size: int = option(16, "images a step", within=FROM_1)
    pooled_epochs: int = option(
        45, "epochs of step 1, the pooled classifier", within=FROM_1
    )
    epochs: int = option(45, "epochs of step 2, the attention model", within=FROM_1)
    pooled_learning_rate: float = option(1e-5, "of step 1's new layers", within=ABOVE_0)
    learning_rate: float = option(1e-5, "of step 2's new layers", within=ABOVE_0)
    backbone_rate: float = option(
        1.0,
        "learning rate of the backbone as a share of the new layers'",
        within=FROM_0,
    )
    localization_rate: float = option(
        1.0,
        "learning rate of what finds regions, W_zm and b_m (rarl: W_loc, b_loc and the "
        "baseline; by content: its kernels, too), as a share of the new layers'",
        within=FROM_0,
    )
    probe_cost: float = option(
        0.0,
        "step 1 starts from a linear probe: logistic regressions on the untouched "
        "backbone's features with this cost C, such as 0.002; 0: from Xavier",
        within=FROM_0,
    )
    schedule: str = option(
        "step",
        "learning rate: divided by 10 after two thirds of the epochs (30 of 45 in the "
        "paper), falling along a cosine, or constant, to be averaged by ema",
        ("step", "cosine", "constant"),
    )
    clip_norm: float = option(
        0.0, "largest norm of all gradients together; 0: any", within=FROM_0
    )
    ema: float = option(
        0.0, "momentum of averaged weights, such as 0.99; 0: none", within=BELOW_1
    )
    select_by: str = option("loss", "what the best epoch is chosen by", ("loss", "mAP"))
    patience: int = option(
        0, "epochs without a better one before stopping; 0: never", within=FROM_0
    )
    precision: str = option(
        "float32",
        "numbers in the network",
        ("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool = option(
        False,
        "compile the training step with XLA; a resumed run then ends only nearly the "
        "same",
    )
    seed: int = option(
        0, "of the held-back tenth, order, crops, weights, dropout", within=FROM_0
    )


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """What is fitted after training, on the selection split."""

    calibrate: bool = option(
        False,
        "fit a temperature of the probabilities and a threshold for each label to the "
        "selection split",
    )
    precision_floor: float = option(
        0.0,
        "least precision of the thresholds that are fitted; 0: of the best F1",
        within=SHARE,
    )
