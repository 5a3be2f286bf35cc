"""`Config`: all settings of a run, in groups.

It is saved next to the weights as `config.json`, from which evaluation, prediction and
export build the model again. Setting names are unique, so that flags, presets and error
messages name a setting without its group.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from ram_tf.models import backbones
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

if TYPE_CHECKING:  # TensorFlow takes seconds to load, which settings need not
    from ram_tf.models.objectives import Objective, ReinforceObjective

# Format of a run's folder: the meaning of its weights and the list of its settings.
# Format 2 had the same settings without groups.
FORMAT = 3
# Removed settings, which old command lines and configurations still have, and why they
# were removed.
RETIRED = dict.fromkeys(
    ("search_epochs", "region_probe", "spatial_prior"),
    "was removed in version 0.2: regions are now found by the content of the image",
)


# Settings that are paths.
FOLDERS = ("data_dir", "manual_dir", "cache_dir", "start_from")


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run; defaults follow the paper's section 5.1 where possible.

    >>> settings = Config.of(dataset="csv", epochs=3)
    >>> settings.data.dataset, settings.training.epochs
    ('csv', 3)

    Raises:
        ValueError: A value is out of range or not an allowed choice.
    """

    name: str = option(
        "", "name of the SavedModel; empty: that of the dataset", common=True
    )
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    image: ImageSettings = dataclasses.field(default_factory=ImageSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    attention: AttentionSettings = dataclasses.field(default_factory=AttentionSettings)
    loss: LossSettings = dataclasses.field(default_factory=LossSettings)
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = dataclasses.field(
        default_factory=EvaluationSettings
    )

    def __post_init__(self) -> None:
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
    def of(cls, **settings: Any) -> Self:
        """Returns the default settings with the given ones changed, by flag name.

        Raises:
            TypeError: A setting is unknown.
            ValueError: See `Config`.
        """
        return cls().replace(**settings)

    def replace(self, **settings: Any) -> Self:
        """Returns these settings with the given ones changed, by flag name.

        Raises:
            TypeError: A setting is unknown.
            ValueError: See `Config`.
        """
        changes: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            if name not in FIELDS:
                raise TypeError(f"Unknown setting. Received: {name}={value!r}")
            group, field = FIELDS[name]
            changes.setdefault(group, {})[field.name] = value
        groups = {
            group: dataclasses.replace(getattr(self, group), **values)
            for group, values in changes.items()
            if group
        }
        return dataclasses.replace(self, **changes.get("", {}), **groups)

    def with_whole_paths(self) -> Self:
        """Returns these settings with absolute paths.

        Then the run can be evaluated from any folder.
        """
        return self.replace(
            **{name: os.path.abspath(self[name]) for name in FOLDERS if self[name]}
        )

    def without_folders(self) -> Self:
        """Returns these settings without the folders of this computer.

        So they can be given away with a model. Of files and of an earlier model the
        names remain, since they say what the model began with.
        """
        names = ("weights", "start_from")
        kept = {name: pathlib.PurePath(self[name]).name for name in names}
        return self.replace(**{**dict.fromkeys(FOLDERS, ""), **kept})

    def flat(self) -> dict[str, Any]:
        """Returns a dict of all settings by flag name, without groups."""
        return {name: self[name] for name in FIELDS}

    def __getitem__(self, name: str) -> Any:
        group, field = FIELDS[name]
        return getattr(getattr(self, group) if group else self, field.name)

    @property
    def saved_name(self) -> str:
        """Name of the folder for the SavedModel's versions."""
        return self.name or self.data.dataset

    @property
    def run_name(self) -> str:
        """Default name of the output folder, different for RDAR and RARL."""
        return f"{self.saved_name}-rarl" if self.is_rarl else self.saved_name

    @property
    def is_rarl(self) -> bool:
        """Whether the attention model is RARL instead of RDAR."""
        return self.model.kind == "rarl"

    @property
    def regions_a_step(self) -> int:
        """Number of regions that the model processes around one location."""
        # TensorFlow takes seconds to load, which settings alone need not.
        from ram_tf.models.attention.region_scales import region_scales

        return len(region_scales()) if self.is_rarl else 1

    @property
    def finds_regions(self) -> bool:
        """Whether the model learns the positions of its regions."""
        is_baseline = self.is_rarl and self.attention.locations != "learnt"
        return not (is_baseline or self.given_regions)

    @property
    def given_regions(self) -> bool:
        """Whether regions are object proposals instead of learnt by the model."""
        return self.attention.region_source == "proposals"

    @property
    def objective(self) -> "Objective | ReinforceObjective":
        """The `Objective` of these settings, for RARL the `ReinforceObjective`."""
        from ram_tf.models.objectives import Objective, ReinforceObjective

        kind = ReinforceObjective if self.is_rarl else Objective
        values = {field.name: self[field.name] for field in dataclasses.fields(kind)}
        if self.given_regions:
            # Given regions cannot be moved.
            values["constraints"] = ""
        return kind(**values)

    def check_units(self) -> None:
        """Raises a `ValueError` if `units` is too small to start from step 1."""
        if self.attention.head_start == "pooled":
            # The number of units that `RegionLSTM.start_as` uses.
            hidden = self.model.pooled_units
            needed = 2 * hidden + 1 if hidden else 5
            fits = self.attention.units >= needed
            setting_rules.require(self, "units", fits, f"{needed} or more")

    def check_cells(self, whole_images: bool = False) -> None:
        """Raises a `ValueError` if the backbone's cells do not tile its input.

        Boxes are exact only if they do. For other sizes the network drops pixels or
        adds a cell, and its one-sided padding shifts all cells.

        Args:
            whole_images: Whether the backbone also processes whole images, to cut views
                from their features.
        """
        image, backbone = self.image, self.model.backbone
        stride = backbones.BACKBONES[backbone].stride
        below = image.crop // stride * stride
        sizes = [c + image.crop_margin for c in (below, below + stride) if c]
        expected = (
            f"{' or '.join(map(str, sizes))}, so that {backbone}'s cells of "
            f"{stride} pixels tile the input after crop_margin={image.crop_margin}"
        )
        setting_rules.require(self, "image_size", image.crop == below, expected)
        if whole_images:
            fits = image.image_size % stride == 0
            expected = (
                f"a multiple of {stride} pixels, the stride of {backbone}, "
                "or --views_from image"
            )
            setting_rules.require(self, "image_size", fits, expected)

    def to_json(self, label_names: Iterable[str]) -> str:
        """Returns the text of `config.json`: format, labels in order, all settings."""
        content = {
            "format": FORMAT,
            "label_names": list(label_names),
            **dataclasses.asdict(self),
        }
        return json.dumps(content, indent=2) + "\n"


def _fields():
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(field.type):
            for setting in dataclasses.fields(field.type):
                yield setting.metadata["flag"] or setting.name, (field.name, setting)
        else:
            yield field.name, ("", field)


# Flag name -> (group name, "" for none; dataclass field).
FIELDS = dict(_fields())
