"""Compares the speed of this package with that of other programs.

    pip install -e ".[peers,onnx,litert]"       # in an environment of its own
    python -m benchmarks.peers
    python -m benchmarks.peers --backbone vgg16 --image_size 512

All rows of a group do the same work on the same threads, in turns in one process:

- The network, images in: the attention model as a TensorFlow graph, a plain Keras
  classifier on the same kind of backbone, and the attention model in ONNX Runtime,
  OpenVINO and LiteRT (float, and weights of 8 bits: TensorFlow 2.21 crashes when it
  calibrates activations of a graph with a loop), whose scores are first compared with
  the graph's, those of 8 bits excepted.
- The recurrent module, feature maps in, with Eq. 5's localisation: this package's, and
  one in PyTorch, whose scores agree to 1e-4 on the same weights.
- A served photograph, JPEG in: the SavedModel, and its parts alone, without any check:
  decoding, resizing and the network.

"Over limit" divides the time by that of the network's multiplications at the rate of
the fastest matrix product that TensorFlow computes on this machine; for a served
photograph, decoding and resizing are added to it. Prints tables and writes the ratios
to benchmarks/results.json. LiteRT's files take one image at a time.
"""

import argparse
import os
import statistics
import tempfile
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from benchmarks import forward, record, timing
from benchmarks.subject import Subject
from benchmarks.timing import Candidate
from ram_tf.cli import command
from ram_tf.data.image_bytes import read_files
from ram_tf.data.images.resizing import centre_crop, resize
from ram_tf.runs import run_models
from ram_tf.serving import extras
from ram_tf.serving.formats import litert_model, onnx_model, single_size
from ram_tf.serving.formats.export import export
from ram_tf.serving.predictor import Predictor

BATCHES = 1, 8
TOLERANCE = 1e-3  # of scores, between programs
MATRIX = 2048  # edge of the matrices that are multiplied


class Group(NamedTuple):
    """Candidates that do the same work; all are compared with the first.

    Args:
        title: What goes in.
        candidates: `Candidate`s by name.
        limit: The least seconds for an image.
    """

    title: str
    candidates: dict
    limit: float


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--backbone", choices=("mobilenet_v2", "vgg16"), default="mobilenet_v2"
    )
    parser.add_argument("--image_size", type=int, default=384, help="N; %(default)s")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="default: all cores"
    )
    parser.add_argument("--rounds", type=int, default=9, help="%(default)s")
    record.add_output(parser)
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    with extras.required("peers", "This comparison"):
        import torch
    record.read(arguments.output)  # Fails early on a wrong file.
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rate = fastest_product()
    print(f"fastest matrix product: {rate / 1e9:.0f} billion operations a second")
    for batch in BATCHES:
        with tempfile.TemporaryDirectory(prefix="ram_tf-") as folder:
            subject = Subject.of(
                folder, arguments.backbone, arguments.image_size, batch, passed=64
            )
            for group in groups(subject, arguments.threads, rate):
                compare(group, batch, arguments)
    return 0


def compare(group, batch, arguments):
    """Measures a `Group`, prints its table and stores its ratios."""
    first, *others = group.candidates
    ratios = [timing.Ratio(f"{name}_over_{first}", name, first) for name in others]
    machine = record.machine()
    measured = timing.measure(ratios, group.candidates, arguments.rounds, group.title)
    seconds = {}
    for each in measured.values():
        seconds |= each.seconds
    print(f"\n{group.title}, batches of {batch}")
    heads = f"{'ms an image':>12}{'images/s':>10}{'over first':>22}{'over limit':>12}"
    print(f"{'':<22}{heads}")
    for name in group.candidates:
        one = measured.get(f"{name}_over_{first}")
        ratio = f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" if one else ""
        taken = seconds[name]
        print(
            f"{name:<22}{1000 * taken:>12.1f}{1 / taken:>10.1f}{ratio:>22}"
            f"{taken / group.limit:>12.1f}"
        )
    settings = {
        "backbone": arguments.backbone,
        "image_size": arguments.image_size,
        "batch_size": batch,
        "threads": arguments.threads,
    }
    entries = {
        f"peers_{_key(name)}_{arguments.backbone}_{batch}": record.entry(
            each, "", settings, machine
        )
        for name, each in measured.items()
    }
    record.update(arguments.output, entries)


def _key(ratio):
    return ratio.replace(",", "").replace(" ", "_")


def groups(subject, threads, rate):
    """Yields the `Group`s of a `Subject`."""
    size, batch = subject.settings.image.image_size, subject.batch
    subject = subject.with_settings(crop_margin=0)
    images = subject.images(size)
    operations = network_operations(subject.model, images)
    limit = operations / rate
    network = {
        "model": Candidate(forward.graph(subject.model, images), batch),
        "keras classifier": Candidate(
            forward.graph(plain_classifier(subject.settings.model.backbone), images),
            batch,
        ),
        **exported(subject, images.numpy(), threads),
    }
    yield Group("The network, images in", network, limit)
    yield module_group(subject, images, rate)
    yield served_group(subject, limit)


def plain_classifier(backbone):
    """Builds Keras' own network with a linear classifier of 20 labels."""
    kinds = {
        "mobilenet_v2": keras.applications.MobileNetV2,
        "vgg16": keras.applications.VGG16,
    }
    network = kinds[backbone](weights=None, include_top=False, pooling="avg")
    return keras.Sequential([network, keras.layers.Dense(20)])


def exported(subject, images, threads):
    """Returns the candidates of other runtimes, after a comparison of their scores."""
    view = run_models.served_view(subject.run, subject.model)
    expected = subject.model(images)["scores"].numpy()
    onnx_file = onnx_model.export(view, subject.run, subject.folder / "model.onnx")
    litert_file = litert_model.export(view, subject.run, subject.folder / "m.tflite")
    small_file = litert_model.export(
        view, subject.run, subject.folder / "small.tflite", quantize=True
    )
    runtimes = {
        "onnx runtime": onnx_runtime(onnx_file, threads),
        "openvino": openvino(view, threads),
        "litert": litert(litert_file, threads),
    }
    for name, run in runtimes.items():
        # Relative to the largest, since random weights give small scores.
        furthest = np.abs(run(images) - expected).max() / np.abs(expected).max()
        if not furthest < TOLERANCE:
            raise ValueError(
                f"{name} computes other scores. Expected relative differences below "
                f"{TOLERANCE}. Received: {furthest}"
            )
    runtimes["litert, 8 bits"] = litert(small_file, threads)
    return {
        name: Candidate(lambda run=run: run(images), len(images))
        for name, run in runtimes.items()
    }


def onnx_runtime(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(["scores"], {"images": images})[0]


def openvino(view, threads):
    import openvino

    # From TensorFlow's graph: its reader of ONNX files refuses the loop.
    graph, _ = single_size.image_function(view)
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(
        openvino.convert_model(graph), "CPU", options
    )
    request = compiled.create_infer_request()
    return lambda images: request.infer({0: images})[compiled.output("scores")]


def litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path), num_threads=threads).get_signature_runner()
    return lambda images: np.concatenate(
        [run(images=image[None])["scores"] for image in images]
    )


def module_group(subject, images, rate):
    """Returns the `Group` of the recurrent modules."""
    import torch

    from benchmarks.torch_attention import TorchAttention

    linear = subject.with_settings(localization="linear", head_start="xavier")
    model = linear.model
    # Of the scale of trained features, so that regions depend on them.
    shape = model.backbone(images).shape
    maps = tf.random.stateless_uniform(shape, (0, 1), maxval=2.0)
    peer = TorchAttention(model.attention).eval()
    # PyTorch's order of axes, which its own backbones give.
    torch_maps = torch.tensor(np.moveaxis(maps.numpy(), -1, 1).copy())

    def run_peer():
        with torch.inference_mode():
            return peer(torch_maps)

    expected = model.attention(maps)["region_scores"].numpy()
    np.testing.assert_allclose(run_peer()[0].numpy(), expected, atol=1e-4)
    candidates = {
        "module": Candidate(forward.graph(model.attention, maps), len(images)),
        "pytorch module": Candidate(run_peer, len(images)),
    }
    limit = module_operations(model.attention, maps.shape) / rate
    return Group("The recurrent module, feature maps in", candidates, limit)


def served_group(subject, limit):
    """Returns the `Group` of served photographs."""
    size, batch = subject.settings.image.image_size, subject.batch
    view = run_models.served_view(subject.run, subject.model)
    served = Predictor.load(export(view, subject.run, subject.folder / "saved_model"))
    encoded = [*read_files(subject.split.take(range(batch)))]

    def read_one(content):
        image = tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE")
        return centre_crop(resize(image, size), size)

    read = tf.function(
        lambda contents: tf.map_fn(
            read_one, contents, fn_output_signature=tf.float32, parallel_iterations=8
        ),
        autograph=False,
    )
    network = tf.function(subject.model, autograph=False)
    contents = tf.constant(encoded)
    reading = statistics.median(
        timing.alternate({"read": Candidate(lambda: read(contents), batch)}, 9)["read"]
    )
    candidates = {
        "parts alone": Candidate(lambda: network(read(contents)), batch),
        "savedmodel": Candidate(lambda: served(encoded), batch),
    }
    return Group("A served photograph, JPEG in", candidates, limit + reading)


def fastest_product(rounds=10):
    """Measures the most multiplications and additions a second of a matrix product."""
    matrix = tf.random.stateless_uniform((MATRIX, MATRIX), (0, 0))
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        taken.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(taken)


def network_operations(model, images):
    """Counts the multiplications and additions for one image."""
    one = tf.TensorSpec((1, *images.shape[1:]), tf.float32)
    graph = tf.function(model.backbone, autograph=False).get_concrete_function(one)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    counted = tf.compat.v1.profiler.profile(graph.graph, options=options)
    maps = model.backbone(images[:1]).shape
    return counted.total_float_ops + module_operations(model.attention, maps)


def module_operations(attention, maps):
    """Counts those of the recurrent module for one map of the shape `(B, H, W, C)`."""
    _, rows, columns, channels = maps
    height, width = attention.region_size
    units = attention.units
    sampling = height * columns * channels * (rows + width)
    feature = attention.region_lstm.feature.kernel.shape[0] * units
    lstm = 2 * units * 4 * units
    heads = units * (units + attention.num_labels + 4)
    return 2 * (attention.num_regions + 1) * (sampling + feature + lstm + heads)


if __name__ == "__main__":
    raise SystemExit(command.run(main))
