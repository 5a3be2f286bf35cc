"""From image files to labels and the regions that spoke for them.

A `Predictor` is made from a run's folder, from a SavedModel, from a file of another
format or from a server's address; all prepare images by the same graph.
"""

import collections
import concurrent.futures
import functools
import json
import pathlib
import reprlib

import numpy as np
import tensorflow as tf

from ram_tf import fixed_size, litert_model, onnx_model
from ram_tf.answers import TooLargeError
from ram_tf.client import in_parts
from ram_tf.config import from_json
from ram_tf.export import DESCRIBED, files_of_graph, serve_bytes
from ram_tf.header import MAX_SIDE
from ram_tf.preprocessing import decode_image
from ram_tf.run import Run
from ram_tf.seal import check, read, replacing
from ram_tf.visualization import draw_regions, voices

ENDINGS = (".jpg", ".jpeg", ".png")
FORMATS = {onnx_model.ENDING: onnx_model, litert_model.ENDING: litert_model}


class Predictor:
    """Scores encoded images with a trained model.

    Call arguments:
        encoded: A list of `bytes`, a JPEG or PNG each.

    Returns:
        The dict of `ram_tf.export.serve_bytes`, as NumPy arrays.

    Args:
        serve: From a list of encoded images to that dict.
        config: The `Config` of the run.
        label_names: The L labels.
        about: How it looks at images, `MultiView.about`.
    """

    def __init__(self, serve, config, label_names, about):
        self.serve = serve
        self.config = config
        self.label_names = label_names
        self.about = about

    @property
    def thresholds(self):
        """The probability from which on each label is named, `(L,)`."""
        fitted = self.about.get("thresholds")
        return np.array(fitted or [0.5] * len(self.label_names))

    @classmethod
    def of(cls, view, run):
        """Predicts with a view of a run's models."""
        graph = tf.function(
            serve_bytes(view, run.config.max_pixels),
            [tf.TensorSpec([None], tf.string, name="image_bytes")],
            autograph=False,
        )
        return cls(_served_here(graph), run.config, run.label_names, view.about)

    @classmethod
    def load(cls, folder, client=None):
        """Loads a run's output folder, a version folder of a SavedModel, or a file.

        Args:
            folder: One of these; a file in one of the `FORMATS`. With a client the
                version folder that its server has, for labels and thresholds, which no
                server tells.
            client: See `client.connect`; the model is then the server's.

        Raises:
            FileNotFoundError: The folder is none of these.
            ModuleNotFoundError: The file's format needs an extra.
            ValueError: A file cannot be read, or has changed since it was written.
        """
        folder = pathlib.Path(folder)
        if folder.suffix in FORMATS and folder.is_file() and not client:
            return cls._of_file(folder)
        if (folder / "config.json").is_file() and not client:
            run = Run.open(folder)
            return cls.of(run.served_view(run.load_model()), run)
        if not (folder / "saved_model.pb").is_file():
            others = f", a run's (config.json) or a file in {' or '.join(FORMATS)}"
            raise FileNotFoundError(
                "There is no model. Expected a version folder of a SavedModel "
                f"(saved_model.pb){others * (not client)}. Received: {folder}"
            )
        extra = folder / "assets.extra"
        settings, label_names = from_json(read(extra / "config.json"))
        views = extra / "views.json"
        about = _read_about(read(views), len(label_names), views)
        if client:
            return cls(client, settings, label_names, about)
        for path in files_of_graph(folder):
            check(path)
        loaded = tf.saved_model.load(str(folder))
        serve = _served_here(loaded.signatures["serving_default"])
        predictor = cls(serve, settings, label_names, about)
        # The signature's variables live only as long as what it was loaded from.
        predictor.loaded = loaded
        return predictor

    @classmethod
    def _of_file(cls, path):
        forward, texts = FORMATS[path.suffix].load(path)
        settings, label_names, about = read_described(path, texts)
        (size,) = about["scales"]
        serve = fixed_size.serve_bytes(forward, size, settings.max_pixels)
        return cls(serve, settings, label_names, about)

    def __call__(self, encoded):
        outputs = self.serve(encoded)
        found = outputs["scores"].shape[1]
        if found != len(self.label_names):
            raise ValueError(
                "The model scores other labels than its folder names. Expected "
                f"{len(self.label_names)}. Received: {found}"
            )
        return outputs


def read_described(path, texts):
    """Reads what a file holds beside its model.

    Args:
        path: Of the file.
        texts: The files of `ram_tf.export.described` in it, name to text.

    Returns:
        The `Config`, the label names and `MultiView.about`, with one scale.

    Raises:
        ValueError: The texts are not such, or one is too large.
    """
    try:
        for name in DESCRIBED:
            if len(texts[name]) > fixed_size.LARGEST_TEXT:
                raise ValueError(f"{name} of {len(texts[name])} characters")
        settings, label_names = from_json(texts["config.json"])
        about = _read_about(texts["views.json"], len(label_names), "views.json")
        scales = about.get("scales")
        if not (isinstance(scales, list) and len(scales) == 1 and _is_edge(scales[0])):
            raise ValueError(f"scales {reprlib.repr(scales)}")
    except (KeyError, ValueError) as error:
        raise fixed_size.unreadable(path, error) from error
    return settings, label_names, about


def _is_edge(value):
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and 0 < value <= MAX_SIDE


def _read_about(content, count, where):
    """Reads how an exported model looks at images, `MultiView.about` as JSON."""
    try:
        about = json.loads(content)
        thresholds = about.get("thresholds", [0.5] * count)
        if len(thresholds) != count or not all(0 <= each <= 1 for each in thresholds):
            raise ValueError(f"thresholds {reprlib.repr(thresholds)}")
        return about
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} cannot be read. Expected the views of an exported model, with a "
            f"threshold from 0 to 1 for each of {count} labels. Received: {error}"
        ) from error


def _served_here(graph):
    def serve(encoded):
        outputs = graph(image_bytes=tf.constant(encoded, tf.string))
        return {name: value.numpy() for name, value in outputs.items()}

    return serve


def find_images(paths):
    """Lists the image files of files and folders.

    Args:
        paths: Files, taken as they are, and folders, searched for JPEG and PNG files
            through all levels.

    Returns:
        A list of paths; those of a folder are sorted.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no image.
    """
    found = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            files = sorted(
                p
                for p in path.rglob("*")
                if p.suffix.lower() in ENDINGS and p.is_file()
            )
            if not files:
                raise FileNotFoundError(
                    "The folder holds no images. Expected files ending in "
                    f"{', '.join(ENDINGS)}. Received: {path}"
                )
            found += files
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(
                f"There is no such image. Expected a file or a folder. Received: {path}"
            )
    return found


def predict(predictor, paths, output_dir=None, threshold=None, batch_size=8, at_once=1):
    """Yields what is to say of each image, and draws it.

    Args:
        predictor: A `Predictor`.
        paths: Image files.
        output_dir: Where annotated PNGs are written, under the images' names; None for
            no pictures.
        threshold: Smallest probability of a label that is named; None for the model's
            own, label by label.
        batch_size: Images at a time, which is images a request.
        at_once: Requests at a time, for a server.

    Yields:
        A dict per image, in order: `image`, the path; `valid`, false where it cannot be
        read; `error`, only where it was too large for a server; `labels`, the named
        ones, the most probable first; `boxes`, label to `[ymin, xmin, ymax, xmax]` in
        fractions of the image; `scores` and `probabilities`, label to number, of all
        labels; and `picture`, the PNG.
    """
    if batch_size < 1 or at_once < 1:
        raise ValueError(
            "Images cannot be taken in such parts. Expected 1 or more at a time and 1 "
            f"or more requests at once. Received: {batch_size} and {at_once}"
        )
    paths = [pathlib.Path(path) for path in paths]
    threshold = predictor.thresholds if threshold is None else threshold
    pictures = output_dir and _picture_names(paths, pathlib.Path(output_dir))
    starts = range(0, len(paths), batch_size)
    read = ([p.read_bytes() for p in paths[s : s + batch_size]] for s in starts)
    ask = functools.partial(in_parts, predictor)
    for first, (encoded, rows) in zip(
        starts, _in_order(ask, read, at_once), strict=True
    ):
        for i, one in enumerate(rows):
            path = paths[first + i]
            line = describe(str(path), one, predictor.label_names, threshold)
            if output_dir and line["valid"]:
                picture = pictures[first + i]
                _draw(encoded[i], one, predictor, threshold, picture)
                line["picture"] = str(picture)
            yield line


def _in_order(function, inputs, at_once):
    """Yields inputs with their results, in order, some of them computed at once."""
    waiting = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(at_once)
    try:
        for each in inputs:
            waiting.append((each, pool.submit(function, each)))
            if len(waiting) >= at_once:
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def describe(path, outputs, label_names, threshold):
    """Makes the record of one image, ready for JSON.

    Args:
        path: Of the image, a string.
        outputs: The row of this image in each array of a `Predictor`'s dict, or the
            `TooLargeError` of an image that was too large to be asked about.
        label_names: The L labels.
        threshold: Smallest probability of a label that is named; one for all labels, or
            `(L,)`.

    Returns:
        The dict of `predict`, without `picture`. Where the image cannot be read it has
        no `scores` and no `probabilities`.
    """
    nothing = {"image": path, "valid": False, "labels": [], "boxes": {}}
    if isinstance(outputs, TooLargeError):
        return {**nothing, "error": str(outputs)}
    if not outputs["valid"]:
        return nothing
    named = voices(
        outputs["probabilities"], outputs["region_scores"], label_names, threshold
    )
    boxes = {
        name: [round(float(edge), 4) for edge in outputs["boxes"][region]]
        for name, _, region in named
    }
    return {
        "image": path,
        "valid": True,
        "labels": [name for name, _, _ in named],
        "boxes": boxes,
        "scores": _by_label(label_names, outputs["scores"]),
        "probabilities": _by_label(label_names, outputs["probabilities"]),
    }


def _by_label(label_names, values):
    return {name: float(v) for name, v in zip(label_names, values, strict=True)}


def _draw(encoded, outputs, predictor, threshold, path):
    image = decode_image(encoded, predictor.config.max_pixels).numpy()
    named = voices(
        outputs["probabilities"],
        outputs["region_scores"],
        predictor.label_names,
        threshold,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        at_once = predictor.config.regions_a_step
        picture = draw_regions(image, outputs["boxes"], named, at_once=at_once)
        picture.save(beside)


def _picture_names(paths, output_dir):
    """Names each picture after its image, with a number where names would collide."""
    taken, names = set(), []
    for path in paths:
        stem, number = path.stem, 1
        name = f"{stem}.png"
        while name in taken:
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name)
        names.append(output_dir / name)
    images = {path.resolve() for path in paths}
    for name in names:
        if name.resolve() in images:
            raise ValueError(
                "A picture would replace its image. Expected another output_dir. "
                f"Received: {output_dir}, where {name.name} is one of the images"
            )
    return names
