"""Every setting of a run and its default; `ranges` says what values they may have.

A `Config` is written beside the weights as `config.json` and is all that evaluation,
prediction and export need to build the model again, where its format is this `FORMAT`.
Each of its fields is a flag, as `flags` says.
"""

import dataclasses
import json

from ram_tf.data import datasets
from ram_tf.models import backbones, losses
from ram_tf.models.attention import region_attention
from ram_tf.models.attention.region_scales import region_scales
from ram_tf.models.networks import Objective, ReinforceObjective
from ram_tf.runs import ranges

# Of a run's folder: what its weights mean, and which settings it has.
FORMAT = 2
# Settings that are no more, and since when and why. Command lines and configurations
# of before still have them.
BY_CONTENT = "went with version 0.2: regions are found by the content of the image now"
RETIRED = {
    "search_epochs": BY_CONTENT,
    "region_probe": BY_CONTENT,
    "spatial_prior": BY_CONTENT,
}


def option(default, explanation, choices=None, only=None):
    """A field of `Config`.

    Args:
        default: Its value where none is given.
        explanation: What `--help` says of it.
        choices: Its allowed values, or None for any.
        only: The one model that it is a setting of, or None for both.
    """
    if only:
        explanation = f"{only}: {explanation}"
    metadata = {"explanation": explanation, "choices": choices, "only": only}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a run; defaults are the paper's (section 5.1) where it speaks.

    Raises:
        ValueError: A value is out of range or no allowed choice, on construction.
    """

    # Data
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
    max_pixels: int = option(50_000_000, "larger images are refused")

    name: str = option("", "of the SavedModel; empty: the data set's")

    # Image
    image_size: int = option(
        512,
        "N: images are resized to N x N; without the margin a multiple of the "
        "backbone's pixels per cell",
    )
    crop_margin: int = option(64, "the model sees crops of N - MARGIN")
    flip: bool = option(True, "mirror training images at random")
    zooms: str = option(
        "1",
        "factors of N, one drawn for each training image, that it is resized to before "
        "it is cropped; 1,1,1.25,1.5 shows half of the crops larger",
    )
    colour_jitter: float = option(
        0.0, "how much the colours of training images change at random, 0 to 1"
    )

    # Model
    model: str = option(
        "rdar",
        "the attention model: rdar finds regions by gradients (ICCV 2017), rarl by a "
        "policy that is rewarded for right labels (AAAI 2018)",
        ("rdar", "rarl"),
    )
    backbone: str = option("vgg16", "feature extractor", tuple(backbones.BACKBONES))
    weights: str = option("imagenet", "its weights: imagenet, none, or a file")
    frozen: float = option(
        0.0, "share of the backbone's layers, from the image on, that are not trained"
    )
    regions: int = option(5, "K, how many regions are looked at", only="rdar")
    steps: int = option(
        5, "T, how many locations are looked at, with nine regions each", only="rarl"
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
    )
    episodes: int = option(
        2, "M, sequences of locations sampled for each image in a step", only="rarl"
    )
    region_size: int = option(14, "edge of a sampled region in cells")
    region_pooling: str = option(
        "flatten", "region to vector", ("flatten", "average", "max", "centre")
    )
    layout_channels: int = option(
        0, "channels of a region that W_fx sees cell by cell beside pooled ones"
    )
    units: int = option(4096, "width of W_fx and of the LSTM")
    pooled_units: int = option(
        0, "width of step 1's hidden layer, the W_fx to be; 0: a linear classifier"
    )
    probe_cost: float = option(
        0.0,
        "step 1 starts from a linear probe: logistic regressions on the untouched "
        "backbone's features with this cost C, such as 0.002; 0: from Xavier",
    )
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
        0.5, "with starts at anchors: scale of the regions", only="rdar"
    )
    head_start: str = option(
        "xavier",
        "start of W_fx, LSTM, W_hz and W_zs: Xavier; with W_fx from step 1's hidden "
        "layer; or all so that a region is scored as step 1's classifier scores it",
        ("xavier", "feature", "pooled"),
    )
    context: float = option(
        0.5, "head_start pooled: share of the whole image in a region's first scores"
    )
    dropout: float = option(0.5, "share of features set to zero in training")

    # Loss
    loss: str = option("euclidean", "classification loss", tuple(losses.CLASSIFICATION))
    gamma: float = option(0.1, "weight of the localisation loss (Eq. 14)", only="rdar")
    lambda_anchor: float = option(0.01, "lambda 1 of Eq. 13", only="rdar")
    lambda_positive: float = option(0.1, "lambda 2 of Eq. 13", only="rdar")
    alpha: float = option(0.5, "largest free scale of a region (Eq. 11)", only="rdar")
    beta: float = option(0.1, "smallest free scale of a region (Eq. 12)", only="rdar")
    constraints: str = option(
        "ASP", "constraints in force, by letter: anchor, scale, positive", only="rdar"
    )
    lambda_reinforce: float = option(1.0, "weight of the policy gradient", only="rarl")
    lambda_baseline: float = option(
        1.0, "weight of the squared error of the expected reward", only="rarl"
    )

    # Training
    batch_size: int = option(16, "images a step")
    pooled_epochs: int = option(45, "epochs of step 1, the pooled classifier")
    epochs: int = option(45, "epochs of step 2, the attention model")
    pooling: str = option(
        "average",
        "pooling of step 1; best: average and maximum are both trained and the one "
        "that selection prefers is kept",
        ("average", "max", "flatten", "best"),
    )
    pooled_learning_rate: float = option(1e-5, "of step 1's new layers")
    learning_rate: float = option(1e-5, "of step 2's new layers")
    backbone_rate: float = option(
        1.0, "learning rate of the backbone as a share of the new layers'"
    )
    localization_rate: float = option(
        1.0,
        "learning rate of what finds regions, W_zm and b_m (rarl: W_loc, b_loc and the "
        "baseline; by content: its kernels, too), as a share of the new layers'",
    )
    schedule: str = option(
        "step",
        "learning rate: divided by 10 after two thirds of the epochs (30 of 45 in the "
        "paper), falling along a cosine, or constant, to be averaged by ema",
        ("step", "cosine", "constant"),
    )
    clip_norm: float = option(0.0, "largest norm of all gradients together; 0: any")
    ema: float = option(0.0, "momentum of averaged weights, such as 0.99; 0: none")
    select_by: str = option("loss", "what the best epoch is chosen by", ("loss", "mAP"))
    patience: int = option(0, "epochs without a better one before stopping; 0: never")
    calibrate: bool = option(
        False,
        "fit a temperature of the probabilities and a threshold for each label to the "
        "selection split",
    )
    precision_floor: float = option(
        0.0, "least precision of the thresholds that are fitted; 0: of the best F1"
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
    seed: int = option(0, "of the held-back tenth, order, crops, weights, dropout")

    def __post_init__(self):
        ranges.check(self)

    @property
    def saved_name(self):
        """The folder of the SavedModel's versions."""
        return self.name or self.dataset

    @property
    def run_name(self):
        """The output folder's name where none is given: RARL's is not RDAR's."""
        return self.saved_name + "-rarl" * (self.model == "rarl")

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

    def check_units(self):
        """Raises a `ValueError` where units are too few to start from step 1."""
        if self.head_start == "pooled":
            # As `RegionLSTM.start_as` divides them.
            needed = 2 * self.pooled_units + 1 if self.pooled_units else 5
            ranges.require(self, "units", self.units >= needed, f"{needed} or more")

    def check_cells(self, whole_images=False):
        """Raises a `ValueError` where the backbone's cells do not tile what it sees.

        Only where they do are boxes exact. Of other edges a network leaves pixels out
        or adds a cell, and its one-sided padding moves all cells.

        Args:
            whole_images: Whether it sees these, too, to cut views from their features.
        """
        stride = backbones.BACKBONES[self.backbone].stride
        below = self.crop // stride * stride
        sizes = [c + self.crop_margin for c in (below, below + stride) if c]
        expected = (
            f"{' or '.join(map(str, sizes))}, so that {self.backbone}'s cells of "
            f"{stride} pixels tile what is left after crop_margin={self.crop_margin}"
        )
        ranges.require(self, "image_size", self.crop == below, expected)
        if whole_images:
            fits = self.image_size % stride == 0
            expected = (
                f"a multiple of {stride} pixels, which cells of {self.backbone} tile, "
                "or --views_from image"
            )
            ranges.require(self, "image_size", fits, expected)

    @property
    def crop(self):
        """Edge of what the model sees, in pixels."""
        return self.image_size - self.crop_margin

    @property
    def regions_a_step(self):
        """How many regions the model looks at around one location."""
        return len(region_scales()) if self.model == "rarl" else 1

    @property
    def finds_regions(self):
        """Whether the model itself learns where its regions lie."""
        drawn = self.model == "rarl" and self.locations != "learnt"
        return not (drawn or self.given_regions)

    @property
    def given_regions(self):
        """Whether regions are object proposals instead of found by the model."""
        return self.region_source == "proposals"

    @property
    def objective(self):
        """The `Objective` of these settings, of rarl the `ReinforceObjective`."""
        kind = ReinforceObjective if self.model == "rarl" else Objective
        names = [field.name for field in dataclasses.fields(kind)]
        values = {name: getattr(self, name) for name in names}
        if self.given_regions:
            # Regions that are given are not to be pushed anywhere.
            values["constraints"] = ""
        return kind(**values)

    def to_json(self, label_names):
        """The text of `config.json`: format, labels in order, and every setting."""
        content = {
            "format": FORMAT,
            "label_names": list(label_names),
            **dataclasses.asdict(self),
        }
        return json.dumps(content, indent=2) + "\n"
