"""A web page: drop a picture, see its labels, click one and see who spoke for it.

Gradio (the extra `demo`) brings all its scripts and fonts along, and what would ask
other servers is turned off: the page works without a network.
"""

import functools
import os
import pathlib
import socket
import tempfile

import tensorflow as tf

from ram_tf.evaluation.web_page.page_content import (
    bars,
    draw_course,
    draw_result,
    draw_steps,
    look,
    summarize,
    tell,
)
from ram_tf.serving.predictor import Predictor

KEPT = 3  # models in memory
LARGEST_FILE = "50mb"
FORGOTTEN = 3600  # seconds that uploaded files are kept at most

ABOUT = (
    "# Which labels, and which region spoke for each\n"
    "Drop a picture. Labels with a ✓ are named by the model; click any label to see "
    "the region that spoke for it."
)
WAITING = "No picture yet."
# Many labels and many regions scroll in a box of their own.
STYLE = """
#labels { max-height: 20rem; overflow-y: auto; }
#steps .grid-wrap { max-height: 34rem; overflow-y: auto; }
"""
# Without the one that would send a picture to Hugging Face.
BUTTONS = ["download", "fullscreen"]


def find_models(saved_models):
    """Lists the SavedModels of a folder.

    Args:
        saved_models: Holds `NAME/VERSION/saved_model.pb`; versions are numbers.

    Returns:
        A list of "NAME/VERSION", names in order, the newest version of each first.

    Raises:
        FileNotFoundError: There is none.
    """
    found = [
        path.parent
        for path in pathlib.Path(saved_models).glob("*/*/saved_model.pb")
        if path.parent.name.isdecimal()
    ]
    if not found:
        raise FileNotFoundError(
            "There is no SavedModel to show. Expected NAME/VERSION/saved_model.pb, "
            f"which fit.py and export.py write. Received: {saved_models}"
        )
    found.sort(key=lambda folder: (folder.parent.name, -int(folder.name)))
    return [f"{folder.parent.name}/{folder.name}" for folder in found]


def build(saved_models):
    """Builds the page.

    Args:
        saved_models: See `find_models`.

    Returns:
        A `gradio.Blocks`, not served yet.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ModuleNotFoundError: Gradio is not installed.
    """
    models = find_models(saved_models)
    gradio = _gradio()
    load = functools.lru_cache(KEPT)(Predictor.load)

    def show(model, file):
        """What the page shows of a picture, or why it shows nothing."""
        nothing = None, gradio.Plot(visible=False), None, None, []
        try:
            predictor = load(pathlib.Path(saved_models, model))
            if file is None:
                return WAITING, *nothing
            looked = look(predictor, pathlib.Path(file).read_bytes())
        except tf.errors.OpError as error:
            return error.message.splitlines()[0], *nothing
        except (ValueError, OSError) as error:
            return str(error), *nothing
        hidden = gradio.Plot(visible=False)
        return (
            summarize(looked),
            looked,
            hidden,
            bars(looked),
            draw_result(looked),
            draw_steps(looked),
        )

    def choose(looked, event: gradio.SelectData):
        label = looked.ranking[event.index]
        course = gradio.Plot(draw_course(looked, label), visible=True)
        return tell(looked, label), course, draw_result(looked, label)

    with gradio.Blocks(
        title="ram_tf",
        analytics_enabled=False,
        delete_cache=(FORGOTTEN, FORGOTTEN),
    ) as page:
        gradio.Markdown(ABOUT)
        looked = gradio.State()
        with gradio.Row():
            with gradio.Column(scale=2):
                model = gradio.Dropdown(models, label="Model", elem_id="model")
                file = gradio.File(label="Picture", height=130, elem_id="file")
                labels = gradio.Label(
                    label="Labels", show_heading=False, elem_id="labels"
                )
                course = gradio.Plot(
                    label="From region to region", visible=False, elem_id="course"
                )
            with gradio.Column(scale=3):
                status = gradio.Textbox(
                    WAITING, show_label=False, container=False, elem_id="status"
                )
                picture = gradio.Image(
                    label="Regions",
                    height=700,
                    interactive=False,
                    buttons=BUTTONS,
                    elem_id="picture",
                )
        steps = gradio.Gallery(
            label="Step by step",
            columns=5,
            object_fit="contain",
            buttons=BUTTONS,
            elem_id="steps",
        )
        shown = [status, looked, course, labels, picture, steps]
        gradio.on(
            [file.change, model.change],
            show,
            [model, file],
            shown,
            concurrency_id="model",
        )
        labels.select(choose, looked, [status, course, picture])
    return page


def _gradio():
    """Gradio, imported only where the page is asked for."""
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The web page needs Gradio. Expected: pip install "
            f'-e ".[demo]". Received: {error}'
        ) from error
    return gradio


def serve(saved_models, host, port, open_browser=False):
    """Serves the page until Ctrl-C.

    Args:
        saved_models: See `find_models`.
        host: Address to listen at; 127.0.0.1 for this machine alone.
        port: The same.
        open_browser: Whether to open the page in a browser, too.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ModuleNotFoundError: Gradio is not installed.
        OSError: The port is taken, or the host is none of this machine.
    """
    _must_be_free(host, port)
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as uploads:
        # Where Gradio keeps what is dropped and drawn; it goes when the page ends.
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build(saved_models)
        page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            max_file_size=LARGEST_FILE,
            css=STYLE,
        )
        print(f"the page: http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
        page.block_thread()


def _must_be_free(host, port):
    with socket.socket() as trial:
        # As servers do: what was closed a moment ago counts as free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except (OSError, OverflowError) as error:
            raise OSError(
                "The page cannot be served. Expected an address of this machine and a "
                f"port that is free. Received: {host}:{port} ({error})"
            ) from error
