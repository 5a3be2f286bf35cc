"""Tables 3 to 6 of the paper: what each row changes, its figures, and ours beside.

And one of our own for RARL, of which no ablation is known.
"""

import itertools
from typing import NamedTuple

CROPS = {1: "single-crop", 5: "five-crop", 10: "ten-crop"}


class Row(NamedTuple):
    """A row of a table.

    Args:
        name: What the paper calls it.
        models: For each model that looks, the settings that differ from the base.
        views: How many views of an image each of them sees.
        paper: The paper's figures in percent, for the columns of the table.
    """

    name: str
    models: tuple[dict, ...]
    views: int
    paper: tuple[float, ...]


class Table(NamedTuple):
    """A table of the paper.

    Args:
        number: The paper's; of our own table its name.
        title: What it compares.
        figures: Those of ours that are shown, by their names in a result.
        columns: What the paper's figures are.
        rows: `Row`s.
        longer: Whether to compare with step 1's classifier after as many epochs as both
            steps have, too.
    """

    number: int | str
    title: str
    figures: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    longer: bool = False

    @property
    def decides(self):
        """Names of the settings that each row has its own of, whatever the base's.

        The base's size and model are what table 6 and "locations" begin from.
        """
        models = itertools.chain.from_iterable(row.models for row in self.rows)
        return set.intersection(*map(set, models)) - {"image_size", "model"}


def _constrained(name, *paper):
    """A row of tables 4 and 5: with the constraints of its name, in ten views."""
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
        # Sampled as the learnt ones are, so that a gain of those is the reward's.
        Row("RARL, not rewarded", ({"model": "rarl", "lambda_reinforce": 0.0},), 1, ()),
        Row("RARL, random", ({"model": "rarl", "locations": "random"},), 1, ()),
        Row("RARL, anchors", ({"model": "rarl", "locations": "anchors"},), 1, ()),
    ),
    longer=True,
)


def table_6(small=512, large=640):
    """Scales and views, one model a scale.

    Args:
        small: Edge N of the images of the first model.
        large: That of the second one.

    Returns:
        The `Table`; the paper's figures are those of 512 and 640.
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
    """A table by its number.

    Args:
        number: 3 to 6, or "locations".
        image_size: N of the base.
        scales: The two of table 6; default: the base's N, and a quarter more in whole
            32s, as 640 is to 512.
        model: Of the base.

    Returns:
        The `Table`.

    Raises:
        ValueError: The table compares what the model does not have.
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
        larger += 32 * (larger <= image_size)
        table = table_6(*_different(scales or (image_size, larger)))
        # The paper's figures are RDAR's; of RARL no such table is known.
        return table if model == "rdar" else _without_paper(table)
    tables = (TABLE_3, TABLE_4, TABLE_5, LOCATIONS)
    return {table.number: table for table in tables}[number]


def _different(scales):
    if len(set(scales)) < len(scales):
        raise ValueError(
            "A scale beside itself says nothing new. Expected two different --scales. "
            f"Received: {' '.join(map(str, scales))}"
        )
    return scales


def _without_paper(table):
    rows = tuple(row._replace(paper=()) for row in table.rows)
    return table._replace(columns=(), rows=rows)


def text(compared):
    """Writes a comparison as the paper's table, our figures beside the paper's.

    Args:
        compared: What `ablation.compare` returned.

    Returns:
        Lines of text.
    """
    rows, seeds = compared["rows"], compared["seeds"]
    looks = " and ".join(CROPS[v] for v in sorted({row["views"] for row in rows}))
    if CROPS[5] in looks:
        looks += " (not ten: these images are not mirrored)"
    scales = sorted({scale for row in rows for scale in row["scales"]})
    scored = "linear SVMs on the features" if compared["svm"] else "the network"
    spread = "mean ± standard deviation over seeds" if len(seeds) > 1 else "seed"
    head = [
        f"Table {compared['table']}: {compared['title']}; percent",
        f"ours: {compared['dataset']} {compared['split']}, {compared['images']} "
        f"images; {looks} at {' and '.join(map(str, scales))}; scored by {scored}; "
        f"{spread} {' '.join(map(str, seeds))}",
    ]
    names = [f"ours: {name}" for name in rows[0]["ours"]]
    cells = [("", *names, *(f"paper: {name}" for name in compared["columns"]))]
    for row in rows:
        ours = [_cell(figure) for figure in row["ours"].values()]
        cells.append(
            (row["name"], *ours, *(f"{number:.1f}" for number in row["paper"]))
        )
    for name, key in (
        ("pooled classifier", "pooled"),
        ("the same, epochs of both steps", "pooled_longer"),
    ):
        if key in compared:
            ours = [_cell(figure) for figure in compared[key].values()]
            cells.append((name, *ours, *[""] * len(compared["columns"])))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *figures in cells:
        aligned = zip(figures, widths[1:], strict=True)
        line = [name.ljust(widths[0])] + [f.rjust(w) for f, w in aligned]
        lines.append("  ".join(line).rstrip())
    return "\n".join([*head, *lines])


def _cell(figure):
    if figure["mean"] is None:
        return "\N{EN DASH}"
    if figure["deviation"] is None:
        return f"{figure['mean']:.1f}"
    return f"{figure['mean']:.1f} ± {figure['deviation']:.1f}"
