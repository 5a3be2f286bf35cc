"""Reports on made-up outputs, and a parser that reads them back."""

import dataclasses
import html.parser
import io

import numpy as np
from PIL import Image

from ram_tf.data.split import Split
from ram_tf.evaluation import infer_split, results
from ram_tf.evaluation.report import report
from ram_tf.runs.config import Config

SETTINGS = Config.of(image_size=512, crop_margin=64, loss="bce")

ABOUT = {
    "views": 1,
    "views_from": "image",
    "scales": [512],
    "crops": [448],
    "thresholds": [0.4],
    "temperature": 1.5,
}

# Elements without an end tag.
VOID = {"meta", "br", "img"}


def encoded(colour):
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, "PNG")
    return file.getvalue()


def make_outputs(images=24, names=("cat", "dog", "bird"), regions=2, seed=0, **changes):
    """Returns a split and outputs that rank better than chance."""
    generator = np.random.default_rng(seed)
    shape = images, len(names)
    labels = (generator.random(shape) < 0.4).astype("int8")
    labels[0, 0] = 1
    split = Split(
        tuple(encoded((i * 9, 90, 200)) for i in range(images)),
        tuple(f"photos/{i}.png" for i in range(images)),
        labels,
        tuple(names),
        name="val",
    )
    split = dataclasses.replace(split, **changes)
    return split, outputs_of(split.labels, regions, generator)


def outputs_of(labels, regions, generator):
    images, count = labels.shape
    probabilities = 0.35 * labels.clip(0) + 0.6 * generator.random(labels.shape)
    corners = np.sort(generator.random((images, regions, 2, 2)), 2)
    return {
        "probabilities": probabilities,
        "scores": probabilities,
        "boxes": corners.reshape(images, regions, 4),
        "regions": np.tile(np.eye(2, 3), (images, regions, 1, 1)),
        "region_scores": generator.random((images, regions, count)),
    }


def evaluated(split, outputs, protocol=results.PAPER):
    about = ABOUT | {"thresholds": [0.4] * len(split.label_names)}
    other = outputs | {"probabilities": outputs["probabilities"][::-1]}
    inferred = infer_split.SplitOutputs(outputs, about, {"pooled": other})
    result = results.evaluate(
        outputs, split, SETTINGS, protocol, about, **inferred.others
    )
    return inferred, result


def page_of(
    split,
    outputs,
    protocol=results.PAPER,
    title="runs/digits",
    pictures=3,
    settings=SETTINGS,
    curves=(),
):
    inferred, result = evaluated(split, outputs, protocol)
    return report.render(
        inferred, split, settings, result, protocol, title, pictures, curves
    )


class Page(html.parser.HTMLParser):
    """A parsed page: its elements, its text and its tables.

    `tables` are lists of rows of the texts of cells, `open` the elements that are not
    closed, `mistaken` the end tags that do not match the innermost element.
    """

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.tables = [], [], []
        self.open, self.mistaken = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.mistaken.append(tag)

    def handle_data(self, data):
        self.text.append(data)
        if "td" in self.open[-4:] or "th" in self.open[-4:]:
            self.tables[-1][-1][-1] += data

    def attributes(self, name):
        return [a[name] for _, a in self.elements if name in a]

    def table(self, *heads):
        """Returns the rows of the first table with these headings, by first cell."""
        for head, *rows in self.tables:
            if tuple(cell.split("\n")[0] for cell in head[: len(heads)]) == heads:
                return {row[0]: row[1:] for row in rows}
        raise LookupError(heads)


def percent(value):
    return "\N{EN DASH}" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def boxed():
    boxes = [{"cat": np.array([[0.1, 0.1, 0.9, 0.9]])}] * 24
    return make_outputs(boxes=tuple(boxes))
