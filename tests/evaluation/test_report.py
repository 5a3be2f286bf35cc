"""Tests the report as a page: its HTML, a browser and the script.

The browser test needs Chromium, on Debian: `apt-get install chromium`.
"""

import dataclasses
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
from ram_tf.evaluation.report import report
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from tests.support.paths import ROOT
from tests.support.report_pages import Page, boxed, make_outputs, page_of, percent
from tests.support.small_settings import SMALL

HOSTILE = "\"'><script>alert(1)</script>&amp;"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def unknown_everywhere():
    labels = np.full((6, 3), -1, np.int8)
    labels[:, 0] = [1, 0, 1, 0, 0, -1]
    return make_outputs(6, labels=labels)


CASES = {
    "usual": make_outputs,
    "one label": lambda: make_outputs(names=["cat"]),
    "one region": lambda: make_outputs(regions=1),
    "one image": lambda: make_outputs(1),
    "many labels": lambda: make_outputs(
        images=8, names=[f"label {i}" for i in range(30)]
    ),
    "unknown": unknown_everywhere,
    "nothing present": lambda: make_outputs(labels=np.zeros((24, 3), np.int8)),
    "nothing known": lambda: make_outputs(labels=np.full((24, 3), -1, np.int8)),
    "all present": lambda: make_outputs(labels=np.ones((24, 3), np.int8)),
    "boxes": boxed,
}


@pytest.mark.parametrize("case", CASES)
def test_all_tags_are_closed_in_order(case):
    page = Page(page_of(*CASES[case](), pictures=1))
    assert (page.open, page.mistaken) == ([], [])


def test_hostile_names_are_escaped():
    split, outputs = make_outputs(names=(HOSTILE, "dog", "bird"), name=HOSTILE)
    split = dataclasses.replace(
        split, names=(HOSTILE,) * len(split), notes=(f"left out: {HOSTILE}",)
    )
    page = Page(page_of(split, outputs, title=HOSTILE))
    plain = Page(page_of(*make_outputs()))
    assert (page.open, page.mistaken) == ([], [])
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert "script" not in {tag for tag, _ in page.elements}
    for (_, ours), (_, theirs) in zip(page.elements, plain.elements, strict=False):
        assert set(ours) == set(theirs)
    assert HOSTILE in page.text
    assert any(HOSTILE in text for text in page.attributes("title"))
    assert any(HOSTILE in text for text in page.attributes("alt"))


def test_the_page_loads_no_other_resources_and_runs_no_scripts():
    text = page_of(*make_outputs())
    page = Page(text)
    for address in page.attributes("href") + page.attributes("src"):
        assert address.startswith(("#", "data:image/"))
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link"):
        assert word not in re.sub(r'data:image/\w+;base64,[^"]*', "", text), word
    assert not [
        a for _, attributes in page.elements for a in attributes if a[:2] == "on"
    ]


def test_every_link_has_exactly_one_target():
    page = Page(page_of(*make_outputs()))
    places = page.attributes("id")
    assert len(set(places)) == len(places)
    linked = {link[1:] for link in page.attributes("href") if link[0] == "#"}
    assert linked <= set(places)
    assert set(report.SECTIONS) <= linked


def test_the_same_input_gives_the_same_bytes():
    assert page_of(*make_outputs()) == page_of(*make_outputs())


def test_many_labels_are_folded_away_and_few_are_not():
    def unfolded(count):
        names = [f"label {i}" for i in range(count)]
        page = Page(page_of(*make_outputs(8, names), pictures=1))
        albums = [
            attributes
            for tag, attributes in page.elements
            if tag == "details" and attributes.get("class") == "albums"
        ]
        assert len(albums) == count
        return sum("open" in attributes for attributes in albums)

    assert unfolded(report.OPEN) == report.OPEN
    assert unfolded(report.OPEN + 1) == 0


def test_learning_curves_of_each_run_are_shown():
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    split, outputs = make_outputs()
    for runs in ((), (HOSTILE,), ("runs/a", "runs/b")):
        page = Page(
            page_of(split, outputs, curves=[(run, file.getvalue()) for run in runs])
        )
        assert (page.open, page.mistaken) == ([], [])
        shown = [a["alt"] for tag, a in page.elements if tag == "img"]
        shown = [text for text in shown if text.startswith("Learning curves of ")]
        assert shown == [f"Learning curves of {run}" for run in runs]
        assert ("no learning curves" in "".join(page.text)) == (not runs)


def test_a_file_name_that_is_not_text_can_be_written(tmp_path):
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
        # There are letters, shades and curves down to the end, no blank page.
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
    """A run with initial weights, which is enough for a report."""
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


def test_the_script_reports_the_metrics_of_evaluate(run, tmp_path, capsys):
    result, output = tmp_path / "result.json", tmp_path / "report.html"
    flags = "--model_dir", run.folder, "--split", "train", "--threshold", 0.4
    assert script("evaluate", *flags, "--output", result) == 0
    capsys.readouterr()
    (run.folder / "step1").mkdir()
    history = "epoch,loss,val_loss,val_mAP\n1,0.5,0.4,0.3\n"
    (run.folder / "step1" / "history.csv").write_text(history)
    assert script("report", *flags, "--output", output, "--pictures", 1) == 0
    assert capsys.readouterr().out == f"{output}\n"
    content = json.loads(result.read_text())
    page = Page(output.read_text("utf-8"))
    rows = {key.split()[0]: row for key, row in page.table("metric").items()}
    for metric in ("mAP", "OF1", "CF1"):
        assert rows[metric][0] == percent(content[metric])
    assert percent(content["pointing"]) in page.text
    assert f"{run.folder} on train" in "".join(page.text)
    assert f"Learning curves of {run.folder}" in page.attributes("alt")
