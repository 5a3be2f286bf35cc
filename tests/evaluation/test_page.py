"""Tests the web page: its models, its address, and the page in a browser.

The browser test needs `pip install -e ".[demo]" "playwright>=1.65,<2"` and Chromium at
/usr/bin/chromium, as Debian's package `chromium` installs it.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from ram_tf.cli import command
from ram_tf.evaluation.web_page import page
from ram_tf.runs import run_models
from ram_tf.runs.run import Run
from ram_tf.serving.formats.export import export
from tests.support.paths import ROOT
from tests.support.small_settings import SMALL

CHROMIUM = pathlib.Path("/usr/bin/chromium")
LABELS = ("blue", "green", "red")


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def test_models_are_the_numbered_versions_newest_first(tmp_path):
    for folder in ("b/9", "b/10", "b/partial-7", "a-svm/1", "a-svm/old"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "saved_model.pb").touch()
    (tmp_path / "b" / "11").mkdir()
    assert page.find_models(tmp_path) == ["a-svm/1", "b/10", "b/9"]


def test_a_folder_without_saved_models_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no SavedModel to show"):
        page.find_models(tmp_path / "none")


def test_a_taken_port_is_reported_in_one_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = command.run(lambda _: page.serve(tmp_path, "127.0.0.1", port), [])
    message = capsys.readouterr().err
    assert status == 1
    assert message.count("\n") == 1
    assert f"--port that is free. Received: 127.0.0.1:{port}" in message


def test_missing_gradio_is_reported_with_the_command_that_installs_it(
    tmp_path, monkeypatch
):
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "a" / "1" / "saved_model.pb").touch()
    monkeypatch.setitem(sys.modules, "gradio", None)  # its import fails
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e \"\.\[demo\]\""):
        page.build(tmp_path)


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for name, count in (("three", 3), ("two", 2)):
        settings = SMALL.replace(regions=count, starts="anchors")
        run = Run(tmp_path_factory.mktemp("run"), settings, LABELS)
        model = run_models.build_attention(
            run,
            run_models.build_pooled(run, "average"),
        )
        export(run_models.view(run, model), run, folder / name)
    return folder


@pytest.fixture(scope="module")
def address(saved_models, tmp_path_factory):
    """The address of the page, served by its script, which ends as by Ctrl-C."""
    pytest.importorskip("gradio", reason="needs the extra demo")
    log = tmp_path_factory.mktemp("log") / "log"
    uploads = tmp_path_factory.mktemp("uploads")
    port = free_port()
    command = [sys.executable, "scripts/demo.py", f"--saved_models={saved_models}"]
    with log.open("w") as file:
        page = subprocess.Popen(
            [*command, f"--port={port}"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(uploads)},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        line = page.stdout.readline()
        assert f"http://127.0.0.1:{port}/" in line, log.read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/"
        page.send_signal(signal.SIGINT)
        assert page.wait(60) == 0
        assert "Traceback" not in log.read_text()
        assert not list(uploads.rglob("china.jpg"))
    finally:
        page.kill()
        page.communicate()


@pytest.mark.slow
def test_a_browser_shows_labels_their_regions_and_another_model(address, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    expect = playwright.expect
    expect.set_options(timeout=120_000)  # loading a model takes long
    photo = pathlib.Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    text = tmp_path / "text.jpg"
    text.write_text("this is text")
    requested = set()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: requested.add(request.url))
        page.goto(address)
        status = page.locator("#status textarea, #status input")
        labels = page.locator("#labels button")
        picture = page.locator("#picture img")
        expect(status).to_have_value("No picture yet.")

        page.set_input_files("#file input[type=file]", photo)
        expect(status).to_have_value(re.compile("of 3 labels predicted from 3 regions"))
        expect(labels).to_have_count(3)
        expect(page.locator("#labels meter")).to_have_count(3)
        expect(page.locator("#steps .thumbnail-item img")).to_have_count(3)
        before = picture.get_attribute("src")

        labels.nth(1).click()
        expect(status).to_have_value(
            re.compile(r"Region \d of 3 has its highest score")
        )
        expect(picture).not_to_have_attribute("src", before)
        expect(page.locator("#course img")).to_be_visible()
        assert status.input_value().split(":")[0] in labels.nth(1).inner_text()
        page.screenshot(path=tmp_path / "page.png", full_page=True)

        page.click("#model input")
        page.get_by_role("option", name="two/1").click()
        expect(status).to_have_value(re.compile("of 3 labels predicted from 2 regions"))
        expect(page.locator("#steps .thumbnail-item img")).to_have_count(2)
        expect(page.locator("#course img")).to_be_hidden()

        page.click("#file button[aria-label='Clear'], #file button[title='Clear']")
        expect(status).to_have_value("No picture yet.")
        page.set_input_files("#file input[type=file]", text)
        expect(status).to_have_value(re.compile("^The picture cannot be read.*bytes"))
        expect(labels).to_have_count(0)
        browser.close()
    # No other server is asked; addresses without a host are inside the page.
    hosts = {urlsplit(url).netloc for url in requested} - {""}
    assert hosts == {urlsplit(address).netloc}
    with Image.open(tmp_path / "page.png") as screenshot:
        # The photograph has many more colours than the page.
        assert len(np.unique(np.asarray(screenshot).reshape(-1, 4), axis=0)) > 5000
