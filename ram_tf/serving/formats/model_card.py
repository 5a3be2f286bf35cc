"""The model card: what a model is, how good it is and how it is run, for people.

It is the `README.md` of a version's folder, whose head is the metadata that the Hugging
Face hub reads (https://huggingface.co/docs/hub/model-cards), so that the folder is a
repository of that hub. Files of the other formats hold it among their texts.
"""

import dataclasses
import json

import ram_tf
from ram_tf.storage import atomic_files

FILE = "README.md"
NOT_STATED = "not stated"
# Of the ImageNet weights that Keras Applications offers, where their source states one.
WEIGHTS_LICENCES = {
    "mobilenet_v2": "Apache-2.0",
    "vgg16": "CC BY 4.0 (Visual Geometry Group, Oxford)",
}
ON_FLICKR = "photographs: of their owners on Flickr"
# Data set -> the name that people know it by, and its licence.
DATA = {
    "digits": ("the digits of scikit-learn, several on a canvas", "CC BY 4.0 (UCI)"),
    "voc2007": ("PASCAL VOC 2007", ON_FLICKR),
    "voc2012": ("PASCAL VOC 2012", ON_FLICKR),
    "voc": ("pictures in the layout of PASCAL VOC", NOT_STATED),
    "coco": ("COCO", f"annotations: CC BY 4.0; {ON_FLICKR}"),
    "csv": ("pictures listed in csv files", NOT_STATED),
    "shards": ("pictures in TFRecord files", NOT_STATED),
}
PUBLIC = ("voc2007", "voc2012", "coco")
# Figure in results.json -> what it means. All are shares of 1.
FIGURES = {
    "mAP": "mean over the labels of the average precision",
    "mAP_min10": "the same over labels that at least 10 of the images have",
    "CF1": "F1 of precision and recall averaged over the labels",
    "OF1": "F1 over all labels of all images",
    "pointing": "regions whose centre is in a box of the label that they predicted",
    "calibration_error": "mean distance of a probability from the share it should be",
}
SHOWN_LABELS = 20


@dataclasses.dataclass(frozen=True)
class Card:
    """What a card says of the file or folder that it lies in.

    Args:
        name: The model's name.
        file: Name of the ONNX or LiteRT file; None for the folder of a SavedModel.
        licence: Identifier of the model's licence on the hub, such as "apache-2.0".
        weight_bits: The bits that a large weight takes: 32 or 16.
    """

    name: str
    file: str | None = None
    licence: str | None = None
    weight_bits: int = 32

    def text(self, run, about):
        """Writes the card of a run's model.

        Args:
            run: The `Run`.
            about: `MultiView.about` of what is exported. The run's results are shown if
                they are of the same views and thresholds.

        Returns:
            Markdown with a head in YAML, without folders of this computer.
        """
        results = _results_of(run, about)
        head = _yaml(self._head(run, results))
        sections = (
            f"---\n{head}\n---\n\n# {self.name}\n\n{_introduction(run)}",
            _labels(run.label_names),
            f"## Training\n\n{_training(run)}",
            f"## Figures\n\n{_figures(run, results)}",
            f"## Running it\n\n{self._commands()}",
            f"## What it is not for\n\n{NOT_FOR}",
            f"## Licences\n\n{self._licences(run)}",
            f"Written by ram_tf {ram_tf.__version__}.",
        )
        return "\n\n".join(sections) + "\n"

    def _head(self, run, results):
        dataset = run.config.data.dataset
        head = {"license": self.licence} if self.licence else {}
        head |= {
            "library_name": "tensorflow",
            "pipeline_tag": "image-classification",
            "tags": ["multi-label-classification", "attention", "ram_tf"],
            "num_labels": len(run.label_names),
        }
        if dataset in PUBLIC:
            head["datasets"] = [dataset]
        if results is None:
            return head
        metrics = [
            {"type": name, "name": meaning, "value": round(results[name], 4)}
            for name, meaning in FIGURES.items()
            if results.get(name) is not None
        ]
        head["metrics"] = [metric["type"] for metric in metrics]
        of = {"name": DATA[dataset][0], "type": dataset, "split": results["split"]}
        entry = {
            "task": {"type": "image-classification"},
            "dataset": of,
            "metrics": metrics,
        }
        head["model-index"] = [{"name": self.name, "results": [entry]}]
        return head

    def _commands(self):
        if self.file:
            return (
                f"```\nram-tf predict --model_dir {self.file} photo.jpg\n```\n\nOther "
                "programs give it images of one size; the texts within the file say "
                "which, and name the labels."
            )
        stored = ""
        if self.weight_bits < 32:
            stored = (
                f"\n\nLarge weights are stored in {self.weight_bits} bits each and "
                "lengthened to 32 when the model is loaded."
            )
        return f"In this folder:\n\n{COMMANDS}{stored}"

    def _licences(self, run):
        model, data = run.config.model, DATA[run.config.data.dataset]
        rows = [("this model", self.licence or NOT_STATED)]
        own = WEIGHTS_LICENCES.get(model.backbone, NOT_STATED)
        if model.start_from:
            earlier = run.config.without_folders().model.start_from
            rows.append((f"the earlier model `{earlier}`", "see its card"))
        elif model.weights == "imagenet":
            rows.append((f"ImageNet weights of {model.backbone}, from Keras", own))
        elif model.weights != "none":
            file = run.config.without_folders().model.weights
            stated = f"that of the file; of Keras' own ImageNet weights: {own}"
            rows.append((f"initial weights, `{file}`", stated))
        rows.append((f"training data, {data[0]}", data[1]))
        lines = [f"| {part} | {licence} |" for part, licence in rows]
        return "\n".join(["| part | licence |", "|---|---|", *lines])


COMMANDS = """```
ram-tf predict --model_dir . --output_dir out photo.jpg
```

```
python -c "import numpy as np; \\
    np.save('photo.npy', np.array([open('photo.jpg', 'rb').read()], object))"
saved_model_cli run --dir . --tag_set serve --signature_def serving_default \\
    --inputs image_bytes=photo.npy
```

```python
import tensorflow as tf

model = tf.saved_model.load(".")
image = tf.io.read_file("photo.jpg")
outputs = model.signatures["serving_default"](image_bytes=image[None])
print(outputs["probabilities"], outputs["boxes"])
```

TensorFlow Serving loads the folder as a version of a model."""
NOT_FOR = """- Things that no label names: the model knows its own labels only.
- Pictures unlike those of the training, such as drawings or X-rays, without a test on
  them.
- Decisions about people, and anything where a wrong label does harm.
- Outlines: a box is the region that predicted a label, not the border of an object."""


def _results_of(run, about):
    """Returns the dict of a run's `results.json`; None if it is of something else."""
    try:
        results = json.loads(atomic_files.read_text(run.folder / "results.json"))
    except FileNotFoundError:
        return None
    # As JSON, in which a tuple is a list.
    exported = json.loads(json.dumps(about))
    evaluated = results.get("protocol", {})
    same = all(evaluated.get(name) == value for name, value in exported.items())
    return results if same and "mAP" in results else None


def _introduction(run):
    settings = run.config
    size = settings.image.image_size
    if settings.is_rarl:
        regions = f"{settings.attention.steps} locations of nine regions"
        paper = "Chen et al., AAAI 2018"
    else:
        regions = f"{settings.attention.regions} regions"
        paper = "Wang et al., ICCV 2017"
    return (
        f"It predicts which of {len(run.label_names)} labels a picture has, and shows "
        "the region that predicted each of them. Pictures are resized to "
        f"{size} x {size} pixels; a network ({settings.model.backbone}) makes a "
        f"feature map of them, in which a recurrent network looks at {regions} "
        f"({paper}). It learnt from the labels of whole pictures, without boxes."
    )


def _labels(names):
    shown = ", ".join(names[:SHOWN_LABELS])
    others = len(names) - SHOWN_LABELS
    rest = f" and {others} more, all of them in `labels.txt`" if others > 0 else ""
    return f"Labels: {shown}{rest}."


def _training(run):
    settings = run.config
    train, selection = (
        len(run.training_images.names(name)) for name in ("train", "selection")
    )
    counted = f", {train} pictures to train on and {selection} to select the best epoch"
    return (
        f"Data: {DATA[settings.data.dataset][0]}{counted if train else ''}. Epochs: "
        f"{settings.training.pooled_epochs} of the classifier of whole pictures, "
        f"{settings.training.epochs} of the attention model; seed "
        f"{settings.training.seed}. `config.json` has all settings."
    )


def _figures(run, results):
    if results is None:
        return "Not evaluated as it was exported."
    lines = [
        "| figure | this model | 95 % interval | whole pictures |",
        "|---|---|---|---|",
    ]
    pooled = results.get("pooled") or {}
    for name, meaning in FIGURES.items():
        if results.get(name) is not None:
            low, high = (
                results["intervals"].get(name, {}).get(end) for end in ("low", "high")
            )
            interval = "" if low is None else f"{_percent(low)} to {_percent(high)}"
            cells = f"{name}: {meaning}", _percent(results[name]), interval
            lines.append(f"| {' | '.join(cells)} | {_percent(pooled.get(name))} |")
    return (
        f"In per cent, on {results['images']} images (`{results['split']}`) of "
        f"{DATA[run.config.data.dataset][0]}. The intervals are bootstraps over the "
        'images; "whole pictures" is the classifier of step 1, on the same backbone.'
        "\n\n" + "\n".join(lines)
    )


def _percent(value):
    return "" if value is None else f"{100 * value:.1f}"


def _yaml(value, indent=0):
    """Writes dicts and lists as YAML, whose strings may be written as in JSON."""
    pad, lines = " " * indent, []
    named = isinstance(value, dict)
    for item in value.items() if named else value:
        name, item = item if named else (None, item)
        if not isinstance(item, dict | list):
            text = json.dumps(item)
            lines.append(f"{pad}{name}: {text}" if named else f"{pad}- {text}")
        elif named:
            lines += [f"{pad}{name}:", _yaml(item, indent + 2)]
        else:
            lines.append(f"{pad}- {_yaml(item, indent + 2).lstrip()}")
    return "\n".join(lines)
