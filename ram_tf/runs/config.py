"""A `Config`: every setting of a run, in groups.

It is written beside the weights as `config.json` and is all that evaluation, prediction
and export need to build the model again, where its format is this `FORMAT`. Flags,
presets and messages name a setting without its group: no two have the same name.
"""

import dataclasses
import json

from ram_tf.models import backbones
from ram_tf.models.attention.region_scales import region_scales
from ram_tf.models.objectives import Objective, ReinforceObjective
from ram_tf.runs import setting_rules
from ram_tf.runs.settings import (
    AttentionSettings,
    DataSettings,
    EvaluationSettings,
    ImageSettings,
    LossSettings,
    ModelSettings,
    TrainingSettings,
    option,
)

# Of a run's folder: what its weights mean, and which settings it has. Format 2 had the
# same settings without groups.
FORMAT = 3
# Settings that are no more, and since when and why. Command lines and configurations
# of before still have them.
BY_CONTENT = "went with version 0.2: regions are found by the content of the image now"
RETIRED = {
    "search_epochs": BY_CONTENT,
    "region_probe": BY_CONTENT,
    "spatial_prior": BY_CONTENT,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a run; defaults are the paper's (section 5.1) where it speaks.

    >>> settings = Config.of(dataset="csv", epochs=3)
    >>> settings.data.dataset, settings.training.epochs
    ('csv', 3)

    Raises:
        ValueError: A value is out of range or no allowed choice, on construction.
    """

    name: str = option("", "of the SavedModel; empty: the data set's")
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    image: ImageSettings = dataclasses.field(default_factory=ImageSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    attention: AttentionSettings = dataclasses.field(default_factory=AttentionSettings)
    loss: LossSettings = dataclasses.field(default_factory=LossSettings)
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = dataclasses.field(
        default_factory=EvaluationSettings
    )

    def __post_init__(self):
        for name, (_, field) in FIELDS.items():
            choices, within = field.metadata["choices"], field.metadata["within"]
            if choices and self[name] not in choices:
                raise ValueError(
                    f"Unknown {name}. Expected one of: {', '.join(choices)}. "
                    f"Received: {self[name]!r}"
                )
            if within:
                setting_rules.require(
                    self, name, within.holds(self[name]), within.expected
                )
        setting_rules.check(self)

    @classmethod
    def of(cls, **settings):
        """The default settings with some changed, each by its flag's name.

        Raises:
            TypeError: A setting is unknown.
            ValueError: See `Config`.
        """
        return cls().replace(**settings)

    def replace(self, **settings):
        """These settings with some changed, each by its flag's name.

        Raises:
            TypeError: A setting is unknown.
            ValueError: See `Config`.
        """
        changes = {}
        for name, value in settings.items():
            if name not in FIELDS:
                raise TypeError(f"Unknown setting. Received: {name}={value!r}")
            group, field = FIELDS[name]
            changes.setdefault(group, {})[field.name] = value
        groups = {
            group: dataclasses.replace(getattr(self, group), **of_group)
            for group, of_group in changes.items()
            if group
        }
        return dataclasses.replace(self, **changes.get("", {}), **groups)

    def flat(self):
        """Every setting by its flag's name, a dict without groups."""
        return {name: self[name] for name in FIELDS}

    def __getitem__(self, name):
        group, field = FIELDS[name]
        return getattr(getattr(self, group) if group else self, field.name)

    @property
    def saved_name(self):
        """The folder of the SavedModel's versions."""
        return self.name or self.data.dataset

    @property
    def run_name(self):
        """The output folder's name where none is given: RARL's is not RDAR's."""
        return f"{self.saved_name}-rarl" if self.is_rarl else self.saved_name

    @property
    def is_rarl(self):
        """Whether the attention model is RARL, not RDAR."""
        return self.model.kind == "rarl"

    @property
    def regions_a_step(self):
        """How many regions the model looks at around one location."""
        return len(region_scales()) if self.is_rarl else 1

    @property
    def finds_regions(self):
        """Whether the model itself learns where its regions lie."""
        drawn = self.is_rarl and self.attention.locations != "learnt"
        return not (drawn or self.given_regions)

    @property
    def given_regions(self):
        """Whether regions are object proposals instead of found by the model."""
        return self.attention.region_source == "proposals"

    @property
    def objective(self):
        """The `Objective` of these settings, of RARL the `ReinforceObjective`."""
        kind = ReinforceObjective if self.is_rarl else Objective
        values = {field.name: self[field.name] for field in dataclasses.fields(kind)}
        if self.given_regions:
            # Regions that are given are not to be pushed anywhere.
            values["constraints"] = ""
        return kind(**values)

    def check_units(self):
        """Raises a `ValueError` where units are too few to start from step 1."""
        if self.attention.head_start == "pooled":
            # As `RegionLSTM.start_as` divides them.
            hidden = self.model.pooled_units
            needed = 2 * hidden + 1 if hidden else 5
            fits = self.attention.units >= needed
            setting_rules.require(self, "units", fits, f"{needed} or more")

    def check_cells(self, whole_images=False):
        """Raises a `ValueError` where the backbone's cells do not tile what it sees.

        Only where they do are boxes exact. Of other edges a network leaves pixels out
        or adds a cell, and its one-sided padding moves all cells.

        Args:
            whole_images: Whether it sees these, too, to cut views from their features.
        """
        image, backbone = self.image, self.model.backbone
        stride = backbones.BACKBONES[backbone].stride
        below = image.crop // stride * stride
        sizes = [c + image.crop_margin for c in (below, below + stride) if c]
        expected = (
            f"{' or '.join(map(str, sizes))}, so that {backbone}'s cells of "
            f"{stride} pixels tile what is left after crop_margin={image.crop_margin}"
        )
        setting_rules.require(self, "image_size", image.crop == below, expected)
        if whole_images:
            fits = image.image_size % stride == 0
            expected = (
                f"a multiple of {stride} pixels, which cells of {backbone} tile, "
                "or --views_from image"
            )
            setting_rules.require(self, "image_size", fits, expected)

    def to_json(self, label_names):
        """The text of `config.json`: format, labels in order, and every setting."""
        content = {
            "format": FORMAT,
            "label_names": list(label_names),
            **dataclasses.asdict(self),
        }
        return json.dumps(content, indent=2) + "\n"


def _fields():
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            for each in dataclasses.fields(field.type):
                yield each.metadata["flag"] or each.name, (field.name, each)
        else:
            yield field.name, ("", field)


# Of each setting, by its flag's name: its group's name, "" for none, and its field.
FIELDS = dict(_fields())
