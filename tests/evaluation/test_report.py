"""The browser's test needs Chromium, on Debian: `apt-get install chromium`."""

import base64
import dataclasses
import html.parser
import importlib.util
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from ram_tf.cli import command
from ram_tf.data import drawing
from ram_tf.data.split import Split
from ram_tf.evaluation import infer_split, results
from ram_tf.evaluation.report import report
from ram_tf.evaluation.report import report_images as albums
from ram_tf.metrics import label_pairs, multi_label, protocols
from ram_tf.runs import run_models
from ram_tf.runs.config import Config
from ram_tf.runs.run import Run
from tests.support.paths import ROOT
from tests.support.small_settings import SMALL

SETTINGS = Config.of(image_size=512, crop_margin=64, loss="bce")
ABOUT = {
    "views": 1,
    "views_from": "image",
    "scales": [512],
    "crops": [448],
    "thresholds": [0.4],
    "temperature": 1.5,
}
HOSTILE = "\"'><script>alert(1)</script>&amp;"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Elements that HTML does not close.
VOID = {"meta", "br", "img"}


def encoded(colour):
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, "PNG")
    return file.getvalue()


def made(images=24, names=("cat", "dog", "bird"), regions=2, seed=0, **changes):
    """A split and what a model says of it that ranks better than chance."""
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
    seen = infer_split.SplitOutputs(outputs, about, {"pooled": other})
    result = results.evaluate(outputs, split, SETTINGS, protocol, about, **seen.others)
    return seen, result


def page_of(
    split,
    outputs,
    protocol=results.PAPER,
    title="runs/digits",
    pictures=3,
    settings=SETTINGS,
):
    seen, result = evaluated(split, outputs, protocol)
    return report.render(seen, split, settings, result, protocol, title, pictures)


class Page(html.parser.HTMLParser):
    """A page read back: its elements, its text and its tables.

    `tables` are lists of rows of cells' texts, `open` the elements that are not closed,
    `mistaken` the end tags that close another element than the innermost.
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
        """The rows of the first table that begins with these headings, by their own."""
        for head, *rows in self.tables:
            if tuple(cell.split("\n")[0] for cell in head[: len(heads)]) == heads:
                return {row[0]: row[1:] for row in rows}
        raise LookupError(heads)


def percent(value):
    return "\N{EN DASH}" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def unknown_everywhere():
    labels = np.full((6, 3), -1, np.int8)
    labels[:, 0] = [1, 0, 1, 0, 0, -1]
    return made(6, labels=labels)


def boxed():
    boxes = [{"cat": np.array([[0.1, 0.1, 0.9, 0.9]])}] * 24
    return made(boxes=tuple(boxes))


CASES = {
    "usual": made,
    "one label": lambda: made(names=["cat"]),
    "one region": lambda: made(regions=1),
    "one image": lambda: made(1),
    "many labels": lambda: made(images=8, names=[f"label {i}" for i in range(30)]),
    "unknown": unknown_everywhere,
    "nothing present": lambda: made(labels=np.zeros((24, 3), np.int8)),
    "nothing known": lambda: made(labels=np.full((24, 3), -1, np.int8)),
    "all present": lambda: made(labels=np.ones((24, 3), np.int8)),
    "boxes": boxed,
}


@pytest.mark.parametrize("case", CASES)
def test_every_tag_is_closed_in_its_order(case):
    page = Page(page_of(*CASES[case](), pictures=1))
    assert (page.open, page.mistaken) == ([], [])


def test_strange_names_are_text_and_nothing_else():
    split, outputs = made(names=(HOSTILE, "dog", "bird"), name=HOSTILE)
    split = dataclasses.replace(
        split, names=(HOSTILE,) * len(split), notes=(f"left out: {HOSTILE}",)
    )
    page = Page(page_of(split, outputs, title=HOSTILE))
    plain = Page(page_of(*made()))
    assert (page.open, page.mistaken) == ([], [])
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert "script" not in {tag for tag, _ in page.elements}
    for (_, ours), (_, theirs) in zip(page.elements, plain.elements, strict=False):
        assert set(ours) == set(theirs)
    assert HOSTILE in page.text
    assert any(HOSTILE in text for text in page.attributes("title"))
    assert any(HOSTILE in text for text in page.attributes("alt"))


def test_nothing_is_fetched_and_nothing_runs():
    text = page_of(*made())
    page = Page(text)
    for address in page.attributes("href") + page.attributes("src"):
        assert address.startswith(("#", "data:image/"))
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link"):
        assert word not in re.sub(r'data:image/\w+;base64,[^"]*', "", text), word
    assert not [
        a for _, attributes in page.elements for a in attributes if a[:2] == "on"
    ]


def test_every_link_leads_to_one_place():
    page = Page(page_of(*made()))
    places = page.attributes("id")
    assert len(set(places)) == len(places)
    linked = {link[1:] for link in page.attributes("href") if link[0] == "#"}
    assert linked <= set(places)
    assert set(report.SECTIONS) <= linked


def test_the_same_input_gives_the_same_bytes():
    assert page_of(*made()) == page_of(*made())


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_figures_are_those_of_evaluate(name):
    split, outputs = made(60)
    split.labels[3:6, 1] = -1
    protocol = protocols.PROTOCOLS[name]
    _, result = evaluated(split, outputs, protocol)
    page = Page(page_of(split, outputs, protocol, pictures=1))
    rows = {key.split()[0]: row for key, row in page.table("figure").items()}
    figures = [key for key in result if key.startswith(results.FIGURES)]
    assert len(rows) == len(figures)
    for figure in figures:
        row = rows[figure]
        assert row[0] == percent(result[figure])
        assert row[-1] == percent(result["pooled"][figure])
        if figure in result["intervals"]:
            low, high = (result["intervals"][figure][end] for end in ("low", "high"))
            assert row[1] == f"{percent(low)} to {percent(high)}"
        if figure in result["at_thresholds"]:
            assert row[3] == percent(result["at_thresholds"][figure])
    for label, row in page.table("label", "images", "attention").items():
        assert row[1].strip() == percent(result["AP"][label])
        assert row[2] == percent(result["pooled"]["AP"][label])


@pytest.mark.parametrize("name", ["rdar", "csra", "asl"])
def test_counts_of_right_and_wrong_are_those_of_overall_precision(name):
    split, outputs = made(60)
    split.labels[3:6, 1] = -1
    protocol = protocols.PROTOCOLS[name]
    _, result = evaluated(split, outputs, protocol)
    page = Page(page_of(split, outputs, protocol, pictures=1))
    rows = page.table("label", "present,predicted (TP)").values()
    right, missed, wrong = (sum(int(row[i]) for row in rows) for i in range(3))
    assert right / (right + wrong) == pytest.approx(result["OP"])
    assert right / (right + missed) == pytest.approx(result["OR"])


def test_differences_are_points_with_their_sign():
    split, outputs = made(60)
    _, result = evaluated(split, outputs)
    (row,) = Page(page_of(split, outputs)).table("compared with").values()
    above = result["above_pooled"]["difference"]
    assert above > 0.01
    assert row[0] == f"+{100 * above:.1f}\N{NO-BREAK SPACE}points"


def test_the_matrices_are_those_of_label_pairs():
    split, outputs = made(60)
    split.labels[3:6, 1] = -1
    data, predicted, instead = (
        table
        for table in Page(page_of(split, outputs)).tables
        if len(table) == 4 and table[0][2:] == list(split.label_names)
    )
    named = multi_label.predictions(split.labels, outputs["probabilities"], 0.5, 3)
    for table, (shares, counts) in (
        (data, label_pairs.cooccurrence(split.labels)),
        (predicted, label_pairs.cooccurrence(np.where(split.labels < 0, -1, named))),
        (instead, label_pairs.predicted_instead(split.labels, named)),
    ):
        for i, row in enumerate(table[1:]):
            for j, cell in enumerate(row[2:]):
                shown = i != j and counts[i, j]
                assert cell == (f"{100 * shares[i, j]:.0f}" if shown else "")


def test_the_most_frequent_pairs_are_told_in_words():
    # Cat and dog come together twice and dog and bird once; dog is missed twice where
    # bird is wrong, and cat once.
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]], np.int8)
    split, outputs = made(4, labels=labels)
    outputs["probabilities"] = np.array(
        [[0.9, 0.1, 0.8], [0.1, 0.2, 0.9], [0.1, 0.9, 0.9], [0.9, 0.1, 0.2]]
    )
    page = Page(page_of(split, outputs))
    assert list(page.table("labels", "images with both").items()) == [
        ("cat and dog", ["2", percent(2 / 3), percent(2 / 3)]),
        ("dog and bird", ["1", percent(1 / 3), percent(1)]),
    ]
    assert list(page.table("missed", "wrongly predicted").items()) == [
        ("dog", ["bird", "2", percent(1)]),
        ("cat", ["bird", "1", percent(1)]),
    ]


def test_regions_around_one_location_have_one_map_and_speak_together():
    split, outputs = made(regions=18)
    # The first label is always spoken for by the first look, the others by the second.
    outputs["region_scores"][:, 7, 0] = 2
    outputs["region_scores"][:, 12, 1:] = 2
    settings = SETTINGS.replace(model="rarl", steps=2)
    page = Page(page_of(split, outputs, settings=settings))
    drawn = [i for i, (tag, _) in enumerate(page.elements) if tag == "image"]
    frames = [tag == "rect" for tag, _ in page.elements[drawn[0] : drawn[1]]]
    assert len(drawn) == 2
    assert sum(frames) == 2 * 9
    speakers = page.table("", "images", "1", "2")
    assert [row[1:] for row in speakers.values()] == [["100", ""], *[["", "100"]] * 2]


def test_what_regions_are_judged_by_is_that_of_evaluate():
    split, outputs = boxed()
    outputs["regions"][:, :, :, 2] = np.random.default_rng(0).random((24, 2, 2))
    _, result = evaluated(split, outputs)
    assert result["pointing_evidence"] is None
    page = Page(page_of(split, outputs))
    rows = {name.split()[0]: row for name, row in page.table("measure").items()}
    assert rows == {name: [percent(result[name])] for name in results.OF_REGIONS}
    # Those of the maps are averaged in it.
    told = re.findall(r"middle moves by ([\d.]+)", "".join(page.text))
    assert np.mean([float(each) for each in told]) == pytest.approx(
        100 * result["region_spread"], abs=0.1
    )


def test_without_boxes_regions_are_judged_by_spread_and_overlap():
    page = Page(page_of(*made()))
    names = [name.split()[0] for name in page.table("measure")]
    assert names == ["region_spread", "region_iou"]


def test_pictures_are_small_and_not_more_than_asked_for():
    split, outputs = made(40)
    page = Page(page_of(split, outputs, pictures=2))
    pictures = [s for s in page.attributes("src") if s.startswith("data:image/jpeg")]
    assert len(pictures) == 3 * 3 * 2
    for picture in pictures:
        content = base64.b64decode(picture.partition(",")[2])
        assert max(Image.open(io.BytesIO(content)).size) <= albums.PICTURE
    with pytest.raises(ValueError, match="at least 1"):
        page_of(split, outputs, pictures=0)


def test_a_picture_shows_the_region_that_speaks_for_its_label():
    # The second region, which covers the lower half, speaks; region 1 is dashed.
    split, outputs = made(1, names=["cat"])
    outputs["boxes"][:] = [[0, 0, 0.4, 1], [0.5, 0, 1, 1]]
    outputs["region_scores"][:] = [[0], [1]]
    page = Page(page_of(split, outputs))
    (source,) = (s for s in page.attributes("src") if "jpeg" in s)
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    colour = np.array(drawing.colour(1))
    drawn = np.abs(np.array(picture, int)[:160] - colour).sum(-1) < 60
    rows = np.flatnonzero(drawn.sum(1) > 100)
    assert 80 <= rows.min() < 90
    assert rows.max() > 150
    assert page.attributes("alt") == ["photos/0.png: region 2 speaks for cat"]


def test_many_labels_are_folded_away_and_few_are_not():
    def unfolded(count):
        names = [f"label {i}" for i in range(count)]
        page = Page(page_of(*made(8, names), pictures=1))
        albums = [
            attributes
            for tag, attributes in page.elements
            if tag == "details" and attributes.get("class") == "albums"
        ]
        assert len(albums) == count
        return sum("open" in attributes for attributes in albums)

    assert unfolded(report.OPEN) == report.OPEN
    assert unfolded(report.OPEN + 1) == 0


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    path = tmp_path / "report.html"
    report.write("photo-\udcff.jpg", path)
    assert path.read_text("utf-8") == "photo-\\udcff.jpg"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")
def test_a_browser_shows_all_sections(tmp_path):
    path, picture = tmp_path / "report.html", tmp_path / "report.png"
    report.write(page_of(*boxed()), path)

    def browse(*flags):
        return subprocess.run(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu"),
                f"--user-data-dir={tmp_path / 'profile'}",
                *flags,
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    browse("--window-size=1200,3000", f"--screenshot={picture}")
    with Image.open(picture) as shot:
        assert shot.size == (1200, 3000)
        # Letters, shades and curves down to the end, not a blank page.
        for top in range(0, 3000, 1000):
            part = shot.convert("RGB").crop((0, top, 1200, top + 1000))
            assert len(part.getcolors(1_200_000)) > 20
    shown = Page(browse("--dump-dom").stdout)
    headings = [
        text for text in report.SECTIONS.values() if shown.text.count(text) >= 2
    ]
    assert headings == list(report.SECTIONS.values())


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    """A run that was not trained, which is enough to be reported on."""
    settings = SMALL.replace(data_dir=str(squares), region_pooling="average")
    names = ("blue", "green", "red")
    run = Run.start(tmp_path_factory.mktemp("run") / "run", settings, names)
    pooled = run_models.build_pooled(run, "average")
    pooled.save_weights(run.pooled_weights)
    run_models.build_attention(run, pooled).save_weights(run.model_weights)
    return run


def script(name, *arguments):
    path = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return command.run(module.main, [str(argument) for argument in arguments])


def test_the_script_reports_what_evaluate_prints(run, tmp_path, capsys):
    result, output = tmp_path / "result.json", tmp_path / "report.html"
    flags = "--model_dir", run.folder, "--split", "train", "--threshold", 0.4
    assert script("evaluate", *flags, "--output", result) == 0
    capsys.readouterr()
    assert script("report", *flags, "--output", output, "--pictures", 1) == 0
    assert capsys.readouterr().out == f"{output}\n"
    content = json.loads(result.read_text())
    page = Page(output.read_text("utf-8"))
    rows = {key.split()[0]: row for key, row in page.table("figure").items()}
    for figure in ("mAP", "OF1", "CF1"):
        assert rows[figure][0] == percent(content[figure])
    assert percent(content["pointing"]) in page.text
    assert f"{run.folder} on train" in "".join(page.text)
