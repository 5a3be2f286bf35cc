"""A web page that shows the labels of a picture and the region that predicts each.

Gradio (the extra `demo`) contains all its scripts and fonts, and its features that need
other servers are turned off: the page works without a network.
"""

import functools
import os
import pathlib
import socket
import tempfile

import tensorflow as tf

from ram_tf.evaluation.web_page.page_content import (
    bars,
    describe_label,
    draw_region_scores,
    draw_result,
    draw_steps,
    predict_picture,
    summarize,
)
from ram_tf.serving.predictor import Predictor

MODELS_IN_MEMORY = 3
MAX_FILE_SIZE = "50mb"
MAX_AGE = 3600  # seconds until uploaded files are deleted

ABOUT = (
    "# Labels of a picture, and the region that predicts each\n"
    "Upload a picture. The model predicts the labels with a ✓. Click any label to see "
    "the region with its highest score."
)
WAITING = "No picture yet."
# Long lists of labels and regions scroll in boxes of their own.
STYLE = """
#labels { max-height: 20rem; overflow-y: auto; }
#steps .grid-wrap { max-height: 34rem; overflow-y: auto; }
"""
# Without the button that sends a picture to Hugging Face.
BUTTONS = ["download", "fullscreen"]


def find_models(saved_models):
    """Lists the SavedModels of a folder.

    Args:
        saved_models: A folder of `NAME/VERSION/saved_model.pb`; versions are numbers.

    Returns:
        A list of "NAME/VERSION", sorted by name, the newest version of each first.

    Raises:
        FileNotFoundError: There is no SavedModel.
    """
    found = [
        path.parent
        for path in pathlib.Path(saved_models).glob("*/*/saved_model.pb")
        if path.parent.name.isdecimal()
    ]
    if not found:
        raise FileNotFoundError(
            "There is no SavedModel to show. Expected NAME/VERSION/saved_model.pb in "
            f"--saved_models, as fit.py and export.py write. Received: {saved_models}"
        )
    found.sort(key=lambda folder: (folder.parent.name, -int(folder.name)))
    return [f"{folder.parent.name}/{folder.name}" for folder in found]


def build(saved_models):
    """Builds the page.

    Args:
        saved_models: See `find_models`.

    Returns:
        A `gradio.Blocks`, which is not served yet.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ModuleNotFoundError: Gradio is not installed.
    """
    models = find_models(saved_models)
    gradio = _gradio()
    load = functools.lru_cache(MODELS_IN_MEMORY)(Predictor.load)

    def show(model, file):
        """Returns the contents of the page, or an error message and nothing else."""
        nothing = None, gradio.Plot(visible=False), None, None, []
        try:
            predictor = load(pathlib.Path(saved_models, model))
            if file is None:
                return WAITING, *nothing
            result = predict_picture(predictor, pathlib.Path(file).read_bytes())
        except tf.errors.OpError as error:
            return error.message.splitlines()[0], *nothing
        except (ValueError, OSError) as error:
            return str(error), *nothing
        hidden = gradio.Plot(visible=False)
        return (
            summarize(result),
            result,
            hidden,
            bars(result),
            draw_result(result),
            draw_steps(result),
        )

    def choose(result, event: gradio.SelectData):
        label = result.ranking[event.index]
        plot = gradio.Plot(draw_region_scores(result, label), visible=True)
        return describe_label(result, label), plot, draw_result(result, label)

    with gradio.Blocks(
        title="ram_tf",
        analytics_enabled=False,
        delete_cache=(MAX_AGE, MAX_AGE),
    ) as page:
        gradio.Markdown(ABOUT)
        result = gradio.State()
        with gradio.Row():
            with gradio.Column(scale=2):
                model = gradio.Dropdown(models, label="Model", elem_id="model")
                file = gradio.File(label="Picture", height=130, elem_id="file")
                labels = gradio.Label(
                    label="Labels", show_heading=False, elem_id="labels"
                )
                plot = gradio.Plot(
                    label="Scores of the regions", visible=False, elem_id="course"
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
            label="Regions in their order",
            columns=5,
            object_fit="contain",
            buttons=BUTTONS,
            elem_id="steps",
        )
        shown = [status, result, plot, labels, picture, steps]
        gradio.on(
            [file.change, model.change],
            show,
            [model, file],
            shown,
            concurrency_id="model",
        )
        labels.select(choose, result, [status, plot, picture])
    return page


def _gradio():
    """Imports Gradio, which only the page needs."""
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
        host: Address to listen at; 127.0.0.1 for this machine only.
        port: Port to listen at.
        open_browser: Whether to open the page in a browser.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ModuleNotFoundError: Gradio is not installed.
        OSError: The port is taken, or the host is not an address of this machine.
    """
    _check_free(host, port)
    with tempfile.TemporaryDirectory(prefix="ram_tf-") as uploads:
        # Gradio's files, uploaded and drawn, are deleted when the page ends.
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
            max_file_size=MAX_FILE_SIZE,
            css=STYLE,
        )
        print(f"Web page: http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
        page.block_thread()


def _check_free(host, port):
    with socket.socket() as trial:
        # Like servers: a port that was closed a moment ago counts as free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except (OSError, OverflowError) as error:
            raise OSError(
                "The page cannot be served. Expected a --host of this machine and a "
                f"--port that is free. Received: {host}:{port} ({error})"
            ) from error
