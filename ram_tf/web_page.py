"""A web page: drop a picture, see its labels, click one and see who spoke for it.

What is shown comes from functions of a `Look`, the outputs for one picture, which need
no browser. `build` joins them to a page by Gradio (the extra `demo`), which brings all
its scripts and fonts along: the page asks nothing of any other server.
"""

import functools
import pathlib
import socket
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ram_tf import losses
from ram_tf.prediction import Predictor
from ram_tf.preprocessing import decode_image
from ram_tf.visualization import colour, draw_boxes, draw_regions, voices

# Ours: what is still fast, and still read at a glance.
KEPT = 3  # models in memory
SHOWN = 1280  # pixels of the longer side that are kept of a picture
STEP = 320  # the same of a picture in the row of steps
BEST = 2  # labels told of each region
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
#labels { max-height: 28rem; overflow-y: auto; }
#steps .grid-wrap { max-height: 34rem; overflow-y: auto; }
"""
# Without the one that would send a picture to Hugging Face.
BUTTONS = ["download", "fullscreen"]


class Look(NamedTuple):
    """What a model says of one picture.

    Args:
        image: `(H, W, 3)` uint8, made smaller where the picture is large.
        boxes: `(K, 4)` `ymin, xmin, ymax, xmax`, fractions of the image.
        probabilities: `(L,)`.
        region_scores: `(K, L)`.
        says: `(K, L)` probabilities that each region alone would give.
        label_names: The L labels.
        thresholds: `(L,)` probabilities from which on labels are named.
        at_once: Regions a step: 1, for RARL nine.
        svm: Whether the probabilities are those of SVMs, not of the best region.
    """

    image: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray
    region_scores: np.ndarray
    says: np.ndarray
    label_names: tuple[str, ...]
    thresholds: np.ndarray
    at_once: int
    svm: bool

    @property
    def ranking(self):
        """The indices of the labels, the most probable first."""
        return np.argsort(-self.probabilities, kind="stable")

    def speaker(self, label):
        """The region that spoke for a label: the one whose score is the largest."""
        return int(self.region_scores[:, label].argmax())


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
        (path.parent.parent.name, int(path.parent.name))
        for path in pathlib.Path(saved_models).glob("*/*/saved_model.pb")
        if path.parent.name.isdecimal()
    ]
    if not found:
        raise FileNotFoundError(
            "There is no SavedModel to show. Expected NAME/VERSION/saved_model.pb, "
            f"which fit.py and export.py write. Received: {saved_models}"
        )
    found.sort(key=lambda model: (model[0], -model[1]))
    return [f"{name}/{version}" for name, version in found]


def look(predictor, encoded):
    """Shows a picture to a model.

    Args:
        predictor: A `Predictor`.
        encoded: The bytes of a JPEG or PNG.

    Returns:
        The `Look`.

    Raises:
        ValueError: The picture cannot be read or has too many pixels.
    """
    about, config = predictor.about, predictor.config
    outputs = {name: rows[0] for name, rows in predictor([encoded]).items()}
    if not outputs["valid"]:
        raise ValueError(
            "The picture cannot be read. Expected a whole JPEG or PNG file of at most "
            f"{config.max_pixels:,} pixels. Received: {len(encoded):,} bytes of "
            "something else"
        )
    scores = outputs["region_scores"]
    says = losses.probabilities(scores / about.get("temperature", 1.0), config.loss)
    return Look(
        _smaller(decode_image(encoded, config.max_pixels).numpy()),
        outputs["boxes"],
        outputs["probabilities"],
        scores,
        says.numpy(),
        tuple(predictor.label_names),
        predictor.thresholds,
        len(scores) // config.steps if config.model == "rarl" else 1,
        about.get("svm", False),
    )


def _smaller(image):
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN, SHOWN))
    return np.asarray(picture)


def bars(looked):
    """The probability of each label as it is shown, the most probable first."""
    named = looked.probabilities >= looked.thresholds
    return {
        ("✓ " if named[i] else "") + looked.label_names[i]: float(
            looked.probabilities[i]
        )
        for i in looked.ranking
    }


def draw_look(looked, label=None):
    """Draws the regions of the named labels, or the one that spoke for one label.

    Args:
        looked: A `Look`.
        label: The index of a label; None for all that are named.

    Returns:
        An RGB `PIL.Image`.
    """
    spoken = voices(
        looked.probabilities,
        looked.region_scores,
        looked.label_names,
        looked.thresholds,
    )
    if label is not None:
        probability = float(looked.probabilities[label])
        spoken = [(looked.label_names[label], probability, looked.speaker(label))]
    return draw_regions(looked.image, looked.boxes, spoken, size=800)


def draw_steps(looked):
    """Draws the regions one by one, in the order in which the model looked.

    Args:
        looked: A `Look`.

    Returns:
        K pairs of a `PIL.Image` and the words below it: the region's number, from 1,
        and the labels that it speaks for most.
    """
    return [
        (
            draw_boxes(looked.image, box[None], colour(region), "", STEP),
            _caption(looked, region),
        )
        for region, box in enumerate(looked.boxes)
    ]


def _caption(looked, region):
    says = looked.says[region]
    best = np.argsort(-says, kind="stable")[:BEST]
    told = ", ".join(f"{looked.label_names[i]} {says[i]:.0%}" for i in best)
    step = f" (step {region // looked.at_once + 1})" if looked.at_once > 1 else ""
    return f"{region + 1}{step}: {told}"


def draw_course(looked, label):
    """Draws how a label's score went from region to region.

    Args:
        looked: A `Look`.
        label: The index of the label.

    Returns:
        A `Figure`: a point for each region's score, in the region's colour, the largest
        ringed, and a line for the largest so far, which is Eq. 6's score up to there.
    """
    scores = looked.region_scores[:, label]
    numbers = np.arange(1, len(scores) + 1)
    speaker = looked.speaker(label)
    figure = Figure(figsize=(8, 2.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    so_far = np.maximum.accumulate(scores)
    axes.step(numbers, so_far, "--", where="post", color="grey", label="largest so far")
    axes.plot(numbers, scores, color="black", linewidth=0.8, zorder=1)
    inks = [np.divide(colour(region), 255) for region in range(len(scores))]
    axes.scatter(numbers, scores, 70, inks, edgecolors="black", linewidths=0.8)
    ring = {"s": 220, "facecolors": "none", "edgecolors": "black", "linewidths": 1.6}
    axes.scatter(numbers[speaker], scores[speaker], label="spoke for it", **ring)
    axes.set_title(looked.label_names[label], loc="left", parse_math=False)
    axes.set_xlabel("region, in the order in which the model looked")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.04, y=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return figure


def tell(looked, label):
    """One sentence or two on who spoke for a label."""
    region = looked.speaker(label)
    sentence = (
        f"{looked.label_names[label]}: {looked.probabilities[label]:.1%}, named from "
        f"{looked.thresholds[label]:.1%} on. Region {region + 1} of "
        f"{len(looked.boxes)} spoke for it."
    )
    if looked.svm:
        sentence += (
            " The label's probability is an SVM's on all regions; what a region says "
            "is the network's."
        )
    return sentence


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
            _summary(looked),
            looked,
            hidden,
            bars(looked),
            draw_look(looked),
            draw_steps(looked),
        )

    def choose(looked, event: gradio.SelectData):
        label = looked.ranking[event.index]
        course = gradio.Plot(draw_course(looked, label), visible=True)
        return tell(looked, label), course, draw_look(looked, label)

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
            with gradio.Column(scale=3):
                status = gradio.Textbox(
                    WAITING, show_label=False, container=False, elem_id="status"
                )
                picture = gradio.Image(
                    label="Regions",
                    interactive=False,
                    buttons=BUTTONS,
                    elem_id="picture",
                )
                course = gradio.Plot(
                    label="From region to region", visible=False, elem_id="course"
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


def _summary(looked):
    named = int((looked.probabilities >= looked.thresholds).sum())
    return (
        f"{named} of {len(looked.label_names)} labels named, "
        f"{len(looked.boxes)} regions looked at."
    )


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
    page = build(saved_models)
    _must_be_free(host, port)
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
