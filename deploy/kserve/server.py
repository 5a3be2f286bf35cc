"""Serves a SavedModel by KServe's model server, in TensorFlow Serving's REST protocol.

    python deploy/kserve/server.py --model_dir saved_models/digits/1 --model_name digits

answers http://localhost:8080/v1/models/digits:predict. It needs nothing of this project
but the version folder. `--help` lists KServe's own flags, ports and workers among them.
"""

import argparse
import asyncio
import base64
import binascii
import contextlib

import kserve
import tensorflow as tf
from kserve.errors import InvalidInput
from kserve.model_server import parser as kserve_parser


class SavedModel(kserve.Model):
    """Answers `{"instances": [{"b64": IMAGE}, ...]}` by rows of `serving_default`.

    Args:
        name: Under which it is served.
        folder: A version folder.
    """

    def __init__(self, name, folder):
        super().__init__(name)
        self.folder = folder

    def load(self):
        # The signature's variables live only as long as what it was loaded from.
        self.loaded = tf.saved_model.load(self.folder)
        self.graph = self.loaded.signatures.get("serving_default")
        inputs = self.graph and list(self.graph.structured_input_signature[1])
        if inputs != ["image_bytes"]:
            raise ValueError(
                "This model takes no encoded images. Expected the signature "
                "serving_default with the input image_bytes alone. Received: "
                f"{self.folder} with {inputs}"
            )
        # The first call of a graph is slow; no client is to wait for it.
        self.run([b"no image"])
        self.ready = True
        return self.ready

    async def predict(self, payload, headers=None):
        # In a thread, so that the server goes on taking requests.
        return await asyncio.to_thread(self.answer, payload)

    def answer(self, payload):
        outputs = self.run(encoded_images(payload))
        columns = [values.tolist() for values in outputs.values()]
        rows = [
            dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        return {"predictions": rows}

    def run(self, encoded):
        outputs = self.graph(image_bytes=tf.constant(encoded, tf.string))
        return {name: values.numpy() for name, values in outputs.items()}


def encoded_images(payload):
    """The images of a request, a list of `bytes`.

    Raises:
        InvalidInput: It is no such request; KServe answers it by status 400.
    """
    with contextlib.suppress(KeyError, TypeError, binascii.Error, ValueError):
        instances = payload["instances"]
        found = [base64.b64decode(each["b64"], validate=True) for each in instances]
        if found:
            return found
    raise InvalidInput(
        'This is no request. Expected {"instances": [{"b64": BASE64}, ...]}, an image '
        f"each, as application/json. Received: {str(payload)[:100]}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[kserve_parser],
        conflict_handler="resolve",
    )
    parser.add_argument("--model_dir", required=True, help="a SavedModel's version")
    arguments = parser.parse_args()
    model = SavedModel(arguments.model_name, arguments.model_dir)
    try:
        model.load()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    # Its gRPC speaks another protocol: see deploy/grpc.
    kserve.ModelServer(enable_grpc=False).start([model])


if __name__ == "__main__":
    main()
