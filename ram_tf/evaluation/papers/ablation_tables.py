"""Tables 3 to 6 of the paper: the settings and the published metrics of each row.

And a table of our own for RARL, of which no ablation is published.
"""

import itertools
from typing import NamedTuple

from ram_tf.evaluation import text_tables

CROPS = {1: "single-crop", 5: "five-crop", 10: "ten-crop"}


class Row(NamedTuple):
    """A row of a table.

    Args:
        name: The name in the paper.
        models: For each model of the ensemble, the settings that differ from the base.
        views: Number of views of an image.
        paper: The paper's metrics in percent, for the columns of the table.
    """

    name: str
    models: tuple[dict, ...]
    views: int
    paper: tuple[float, ...]


class Table(NamedTuple):
    """A table of the paper.

    Args:
        number: The number in the paper; the name of our own table.
        title: What it compares.
        metrics: Our metrics to show, by their names in a result.
        columns: The names of the paper's metrics.
        rows: `Row`s.
        longer: Whether to compare also with a step 1 of as many epochs as both steps.
    """

    number: int | str
    title: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    longer: bool = False

    @property
    def decides(self):
        """The names of the settings that each row sets, whatever the base has.

        Without image size and model: table 6 and "locations" start from the base's.
        """
        models = itertools.chain.from_iterable(row.models for row in self.rows)
        return set.intersection(*map(set, models)) - {"image_size", "model"}


def _constrained(name, *paper):
    """Returns a row of tables 4 and 5: the constraints in its name, in ten views."""
    letters = "" if name == "null" else name.replace("+", "")
    changes = {"region_source": "attention", "constraints": letters}
    return Row(name, (changes,), 10, paper)


TABLE_3 = Table(
    3,
    "object proposals against attentional regions",
    ("mAP",),
    ("mAP, VOC 2007",),
    (
        Row("object proposals", ({"region_source": "proposals"},), 1, (88.6,)),
        Row("attentional regions", ({"region_source": "attention"},), 1, (90.4,)),
    ),
)
TABLE_4 = Table(
    4,
    "constraints of the regions: A anchor, S scale, P positive",
    ("mAP",),
    ("mAP, VOC 2007",),
    (
        _constrained("null", 89.9),
        _constrained("S+P", 90.2),
        _constrained("A+S", 90.4),
        _constrained("A+P", 90.3),
        _constrained("A+S+P", 91.3),
    ),
)
TABLE_5 = Table(
    5,
    "with and without constraints of the regions",
    ("CF1", "OF1", "mAP"),
    ("CF1, MS-COCO", "OF1", "mAP"),
    (
        _constrained("null", 65.8, 70.9, 71.5),
        _constrained("A+S+P", 66.5, 71.3, 72.2),
    ),
)


LOCATIONS = Table(
    "locations",
    "where the regions come from",
    (
        "mAP",
        "mAP_min10",
        "pointing",
        "pointing_evidence",
        "pointing_shuffled",
        "region_spread",
    ),
    (),
    (
        Row("RDAR", ({"model": "rdar"},), 1, ()),
        Row("RARL, learnt", ({"model": "rarl", "locations": "learnt"},), 1, ()),
        # Sampled like the learnt ones, so that only the reward makes a difference.
        Row("RARL, not rewarded", ({"model": "rarl", "lambda_reinforce": 0.0},), 1, ()),
        Row("RARL, random", ({"model": "rarl", "locations": "random"},), 1, ()),
        Row("RARL, anchors", ({"model": "rarl", "locations": "anchors"},), 1, ()),
    ),
    longer=True,
)


def table_6(small=512, large=640):
    """Returns table 6: scales and views, one model a scale.

    Args:
        small: Edge N in pixels of the images of the first model.
        large: Edge N of those of the second; the paper has 512 and 640.
    """
    one, other = {"image_size": small}, {"image_size": large}
    return Table(
        6,
        "scales and views, one model a scale",
        ("mAP",),
        ("mAP, VOC 2007", "mAP, MS-COCO"),
        (
            Row(f"s={small} + single-crop", (one,), 1, (90.4, 70.4)),
            Row(f"s={large} + single-crop", (other,), 1, (90.4, 70.5)),
            Row(f"s={small} + ten-crop", (one,), 10, (91.3, 72.2)),
            Row(f"s={large} + ten-crop", (other,), 10, (91.3, 72.3)),
            Row("two scales + ten-crop", (one, other), 10, (91.9, 73.4)),
        ),
    )


def of(number, image_size, scales=None, model="rdar"):
    """Returns a `Table` by its number.

    Args:
        number: 3 to 6, or "locations".
        image_size: Edge N in pixels of the base.
        scales: The two N of table 6; default: the base's, and a quarter more rounded to
            a multiple of 32, as 640 to 512.
        model: The base's model.

    Raises:
        ValueError: The model does not have what the table compares, or the scales are
            equal.
    """
    if model == "rarl" and number in (3, 4, 5):
        raise ValueError(
            "RARL has neither object proposals nor constraints to compare. Expected "
            f"--table 6 or --table locations with it. Received: --table {number}"
        )
    if model != "rarl" and number == LOCATIONS.number:
        raise ValueError(
            "The table of locations is trained with RARL's settings. Expected --model "
            f"rarl. Received: --model {model}"
        )
    if number == 6:
        larger = round(image_size * 1.25 / 32) * 32
        if larger <= image_size:
            larger += 32
        table = table_6(*_different(scales or (image_size, larger)))
        # The paper's metrics are RDAR's; no such table of RARL is published.
        return table if model == "rdar" else _without_paper(table)
    tables = (TABLE_3, TABLE_4, TABLE_5, LOCATIONS)
    return {table.number: table for table in tables}[number]


def _different(scales):
    if len(set(scales)) < len(scales):
        raise ValueError(
            "Table 6 compares two scales. Expected two different --scales. "
            f"Received: {' '.join(map(str, scales))}"
        )
    return scales


def _without_paper(table):
    rows = tuple(row._replace(paper=()) for row in table.rows)
    return table._replace(columns=(), rows=rows)


def text(compared):
    """Formats the result of `ablation.compare` as the paper's table, next to it."""
    rows, seeds = compared["rows"], compared["seeds"]
    views = " and ".join(CROPS[v] for v in sorted({row["views"] for row in rows}))
    if CROPS[5] in views:
        views += " (not ten: these images are not mirrored)"
    scales = sorted({scale for row in rows for scale in row["scales"]})
    scored = "linear SVMs on the features" if compared["svm"] else "the network"
    spread = "mean ± standard deviation over seeds" if len(seeds) > 1 else "seed"
    head = [
        f"Table {compared['table']}: {compared['title']}; percent",
        f"ours: {compared['dataset']} {compared['split']}, {compared['images']} "
        f"images; {views} at {' and '.join(map(str, scales))}; scored by {scored}; "
        f"{spread} {' '.join(map(str, seeds))}",
    ]
    names = [f"ours: {name}" for name in rows[0]["ours"]]
    cells = [("", *names, *(f"paper: {name}" for name in compared["columns"]))]
    for row in rows:
        ours = [_cell(metric) for metric in row["ours"].values()]
        cells.append(
            (row["name"], *ours, *(f"{number:.1f}" for number in row["paper"]))
        )
    for name, key in (
        ("pooled classifier", "pooled"),
        ("the same, epochs of both steps", "pooled_longer"),
    ):
        if key in compared:
            ours = [_cell(metric) for metric in compared[key].values()]
            cells.append((name, *ours, *[""] * len(compared["columns"])))
    return "\n".join([*head, *text_tables.align(cells)])


def _cell(metric):
    if metric["mean"] is None:
        return "\N{EN DASH}"
    if metric["deviation"] is None:
        return f"{metric['mean']:.1f}"
    return f"{metric['mean']:.1f} ± {metric['deviation']:.1f}"
