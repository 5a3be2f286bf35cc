"""The settings of a run in groups, with their defaults, ranges and help texts.

Each field becomes a command-line flag of the same name, or of the name in `flag` (see
`cli.setting_flags`). Defaults are those of the paper (section 5.1) where it gives them.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ram_tf.data import dataset_names
from ram_tf.models import backbones, choices


class Range(NamedTuple):
    """The allowed values of a number.

    Args:
        expected: Description for error messages.
        holds: Function that returns whether a value is allowed.
    """

    expected: str
    holds: Callable[[float], bool]


FROM_1 = Range("1 or more", lambda value: value >= 1)
FROM_0 = Range("0 or more", lambda value: value >= 0)
ABOVE_0 = Range("more than 0", lambda value: value > 0)
BELOW_1 = Range("0 or more and below 1", lambda value: 0 <= value < 1)
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)


def option(default, explanation, allowed=None, only=None, flag=None, common=False):
    """Returns a field of a group of settings.

    Args:
        default: Its value if none is given.
        explanation: Its text in `--help`.
        allowed: The `Range` of a number, a tuple of choices, or None for any value.
        only: "rdar" or "rarl" for a setting of one model alone; None for both.
        flag: Its name on the command line, if that is not the field's.
        common: Whether `fit --help` shows it; `--help-all` shows every setting.
    """
    if only:
        explanation = f"{only}: {explanation}"
    about = {"explanation": explanation, "only": only, "flag": flag}
    about["common"] = common
    about |= {"choices": allowed, "within": None}
    if isinstance(allowed, Range):
        about |= {"choices": None, "within": allowed}
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Settings of the dataset and its splits."""

    dataset: str = option(
        "digits", "name of the dataset", dataset_names.NAMES, common=True
    )
    data_dir: str = option(
        "",
        "folder of the dataset; empty: digits are built in, voc2007, voc2012 and coco "
        "are loaded through tensorflow-datasets",
        common=True,
    )
    train_split: str = option("", "name of the training split; empty: the dataset's")
    val_split: str = option(
        "",
        "name of the validation split, used to choose the best epoch; empty: the "
        "dataset's, or a tenth of the training images if it has none",
    )
    report_split: str = option("", "name of the test split; empty: the dataset's")
    split_fraction: str = option(
        "0.8,0.1,0.1",
        "shares of training, validation and test images of a single csv, of COCO's "
        "annotations in one file, or of a VOC folder without splits",
    )
    division: str = option(
        "stratified",
        "how images are divided where the dataset does not say: stratified, with each "
        "label in its share; or random, as earlier versions did, which passed over a "
        "csv's column of splits",
        dataset_names.DIVISIONS,
    )
    year: int = option(0, "year of COCO, 2014 or 2017; 0: that of the folder's files")
    manual_dir: str = option("", "folder of archives for tensorflow-datasets offline")
    difficult: str = option(
        "unknown",
        "label of an image whose only objects of a class are VOC's difficult ones",
        ("unknown", "positive", "negative"),
    )
    negatives: str = option(
        "drop",
        "what becomes of images without annotations of COCO, and of VOC with own "
        "classes: drop, as in the paper; or keep, as images in which every label is "
        "absent",
        ("drop", "keep"),
        common=True,
    )
    skip_unreadable: bool = option(
        False,
        "skipping of images that cannot be read, instead of an error",
        common=True,
    )
    max_pixels: int = option(80_000_000, "most pixels of an image", FROM_1)
    truncated: str = option(
        "refuse",
        "what becomes of JPEG files that lack their last bytes: refuse; or accept, "
        "which makes missing pixels grey (a PNG file may lack its last chunk only); an "
        "exported model keeps the setting",
        ("refuse", "accept"),
        common=True,
    )
    cache: str = option(
        "none",
        "where decoded training and validation images are kept: none, ram or disk; at "
        "most as large as the largest crop needs",
        ("none", "ram", "disk"),
    )
    cache_dir: str = option(
        "", "folder of --cache disk, which may be deleted; empty: ~/.cache/ram_tf"
    )

    @property
    def fractions(self):
        """`split_fraction` as a tuple of numbers.

        Raises:
            ValueError: It is not a list of three numbers.
        """
        try:
            train, val, test = map(float, self.split_fraction.split(","))
        except ValueError as error:
            raise ValueError(
                "split_fraction is invalid. Expected three numbers, as 0.8,0.1,0.1. "
                f"Received: {self.split_fraction!r}"
            ) from error
        return train, val, test


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """Settings of the preprocessing and augmentation of images."""

    image_size: int = option(
        512,
        "edge N of resized images in pixels (N x N); N - crop_margin must be a "
        "multiple of the backbone's stride",
        common=True,
    )
    crop_margin: int = option(
        64, "pixels by which the model's input crops are smaller than N", FROM_0
    )
    flip: bool = option(True, "random mirroring of training images")
    zooms: str = option(
        "1",
        "factors of N, of which one is drawn per training image to resize it before "
        "cropping; with 1,1,1.25,1.5 half of the images are enlarged",
    )
    colour_jitter: float = option(
        0.0, "strength of random colour changes in training, 0 to 1", SHARE
    )

    @property
    def crop(self):
        """Edge of the model's input in pixels."""
        return self.image_size - self.crop_margin

    @property
    def largest_edge(self):
        """The largest edge that an image is resized to in training, in pixels."""
        zoomed = (round(self.image_size * zoom) for zoom in self.zoom_factors)
        return max(self.image_size, *zoomed)

    @property
    def zoom_factors(self):
        """`zooms` as a tuple of numbers.

        Raises:
            ValueError: It is not a list of numbers.
        """
        try:
            return tuple(map(float, self.zooms.split(",")))
        except ValueError as error:
            raise ValueError(
                "zooms is invalid. Expected a list of factors such as 1,1.25. "
                f"Received: {self.zooms!r}"
            ) from error


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Settings of the backbone and of step 1's pooled classifier."""

    kind: str = option(
        "rdar",
        "attention model: rdar learns regions by gradient descent (ICCV 2017), rarl by "
        "reinforcement learning (AAAI 2018)",
        ("rdar", "rarl"),
        flag="model",
        common=True,
    )
    backbone: str = option(
        "vgg16", "backbone network", tuple(backbones.BACKBONES), common=True
    )
    weights: str = option(
        "imagenet", "backbone weights: imagenet, none, or a file", common=True
    )
    start_from: str = option(
        "",
        "earlier model, a run's folder or a SavedModel, whose backbone (in place of "
        "--weights) and whose classifier of labels with the same names a run starts "
        "from; empty: none",
        common=True,
    )
    frozen: float = option(
        0.0, "share of the backbone's layers, input first, to freeze", BELOW_1
    )
    pooling: str = option(
        "average",
        "pooling of step 1; best: both average and max are trained, and the one better "
        "on the validation split is kept",
        ("average", "max", "flatten", "best"),
    )
    pooled_units: int = option(
        0, "units of step 1's hidden layer; 0: linear classifier", FROM_0
    )
    dropout: float = option(0.5, "dropout rate in training", BELOW_1)


@dataclasses.dataclass(frozen=True)
class AttentionSettings:
    """Settings of the localisation and scoring of regions."""

    regions: int = option(5, "regions K per image", FROM_1, "rdar")
    steps: int = option(
        5, "locations T per image, with nine regions each", FROM_1, "rarl"
    )
    locations: str = option(
        "learnt",
        "choice of locations: learnt by the policy, or as a baseline at random or at "
        "the fixed positions of --starts anchors",
        ("learnt", "random", "anchors"),
        "rarl",
    )
    sigma: float = option(
        0.2,
        "standard deviation of sampled locations in training, in coordinates from -1 "
        "to 1 across the image",
        ABOVE_0,
        "rarl",
    )
    episodes: int = option(
        2, "sampled location sequences M per training image", FROM_1, "rarl"
    )
    region_size: int = option(14, "edge of a sampled region in cells", FROM_1)
    region_pooling: str = option(
        "flatten", "pooling of a region", ("flatten", "average", "max", "centre")
    )
    layout_channels: int = option(
        0,
        "channels of each cell that W_fx receives in addition to the pooled region",
        FROM_0,
    )
    units: int = option(4096, "units of W_fx and of the LSTM", ABOVE_0)
    region_source: str = option(
        "attention",
        "source of regions: the model's attention, or the K best object proposals of "
        "EdgeBoxes (table 3), which can be evaluated but not served",
        ("attention", "proposals"),
    )
    localization: str = option(
        "linear",
        "localisation of the next region: linear, the paper's layer on the LSTM state "
        "(Eq. 5), or content, by evidence in the feature map for probable labels that "
        "earlier regions do not explain",
        choices.LOCALIZATIONS,
    )
    starts: str = option(
        "whole",
        "initial positions of regions: whole, around the whole map with one shared "
        "bias (Eq. 5; rarl: in the centre), or anchors, one per region, the first in "
        "the centre, with its own W_zm and b_m (rarl: W_loc and b_loc)",
        ("whole", "anchors"),
    )
    start_scale: float = option(
        0.5, "initial scale of regions, 1 for the whole map", ABOVE_0, "rdar"
    )
    head_start: str = option(
        "xavier",
        "initial values of W_fx, LSTM, W_hz and W_zs: xavier; feature, with W_fx from "
        "step 1's hidden layer; or pooled, so that a region gets the scores of step "
        "1's classifier",
        ("xavier", "feature", "pooled"),
    )
    context: float = option(
        0.5,
        "share of the whole image in a region's initial scores, with head_start pooled",
        SHARE,
    )


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Settings of the training loss."""

    classification: str = option(
        "euclidean", "classification loss", tuple(choices.LOSSES), flag="loss"
    )
    gamma: float = option(
        0.1, "weight of the localisation loss (Eq. 14)", FROM_0, "rdar"
    )
    lambda_anchor: float = option(
        0.01, "weight lambda 1 of the anchor loss (Eq. 13)", FROM_0, "rdar"
    )
    lambda_positive: float = option(
        0.1, "weight lambda 2 of the positive loss (Eq. 13)", FROM_0, "rdar"
    )
    alpha: float = option(
        0.5, "largest region scale without loss (Eq. 11)", FROM_0, "rdar"
    )
    beta: float = option(
        0.1, "smallest region scale without loss (Eq. 12)", FROM_0, "rdar"
    )
    constraints: str = option(
        "ASP", "region constraints: A anchor, S scale, P positive", only="rdar"
    )
    lambda_reinforce: float = option(
        1.0, "weight of the policy gradient loss", FROM_0, "rarl"
    )
    lambda_baseline: float = option(
        1.0, "weight of the reward baseline's loss", FROM_0, "rarl"
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Settings of the two training steps."""

    batch_size: int = option(16, "images per batch", FROM_1, common=True)
    pooled_epochs: int = option(
        45, "epochs of step 1, the pooled classifier", FROM_1, common=True
    )
    epochs: int = option(
        45, "epochs of step 2, the attention model", FROM_1, common=True
    )
    pooled_learning_rate: float = option(
        1e-5, "learning rate of the new layers in step 1", ABOVE_0
    )
    learning_rate: float = option(
        1e-5, "learning rate of the new layers in step 2", ABOVE_0
    )
    backbone_rate: float = option(
        1.0, "learning rate of the backbone relative to new layers", FROM_0
    )
    localization_rate: float = option(
        1.0,
        "learning rate relative to new layers, of W_zm and b_m (rarl: W_loc, b_loc and "
        "the reward baseline) and the kernels of localization content",
        FROM_0,
    )
    probe_cost: float = option(
        0.0,
        "cost C of logistic regressions on the frozen pretrained backbone's features, "
        "which initialise step 1, such as 0.002; 0: Xavier initialisation",
        FROM_0,
    )
    schedule: str = option(
        "step",
        "learning rate schedule: step, divided by 10 after two thirds of the epochs "
        "(30 of 45 in the paper); cosine; or constant, meant to be used with ema",
        ("step", "cosine", "constant"),
    )
    clip_norm: float = option(
        0.0, "largest global norm of the gradients; 0: no clipping", FROM_0
    )
    ema: float = option(
        0.0, "momentum of averaged weights, such as 0.99; 0: no average", BELOW_1
    )
    select_by: str = option("loss", "metric to choose the best epoch", ("loss", "mAP"))
    patience: int = option(
        0, "epochs without improvement before stopping; 0: never stop", FROM_0
    )
    checkpoint_minutes: float = option(
        10.0, "most minutes of training that a killed run loses", ABOVE_0
    )
    precision: str = option(
        "float32",
        "floating-point precision of the network",
        ("float32", "mixed_bfloat16", "mixed_float16"),
    )
    deterministic: str = option(
        "auto",
        "equal results of equal runs, which some operations of a GPU cannot give: yes, "
        "no, or auto, which is yes on a CPU without --jit_compile and no otherwise",
        ("auto", "yes", "no"),
    )
    jit_compile: bool = option(
        False,
        "compilation of the training step with XLA; a resumed run is then only nearly "
        "the same as an uninterrupted one",
    )
    seed: int = option(
        0,
        "seed of held-out images, order, crops, weights and dropout",
        FROM_0,
        common=True,
    )


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the calibration after training, on the validation split."""

    calibrate: bool = option(
        False,
        "fitting of a temperature and each label's threshold on the validation split",
    )
    precision_floor: float = option(
        0.0, "lowest precision of fitted thresholds, 0 to 1; 0: best F1", SHARE
    )
