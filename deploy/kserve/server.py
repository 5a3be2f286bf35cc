"""Serves a SavedModel with KServe's model server, over TensorFlow Serving's REST API.

    python deploy/kserve/server.py --model_dir saved_models/digits/1 --model_name digits

serves http://localhost:8080/v1/models/digits:predict. Of this project it needs only the
version folder. `--help` also lists KServe's own flags, such as ports and workers.
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
    """Answers `{"instances": [{"b64": IMAGE}, ...]}` with rows of `serving_default`.

    Args:
        name: Name under which the model is served.
        folder: Its version folder.
    """

    def __init__(self, name, folder):
        super().__init__(name)
        self.folder = folder

    def load(self):
        # The signature does not keep its variables alive; the loaded object does.
        self.loaded = tf.saved_model.load(self.folder)
        self.graph = self.loaded.signatures.get("serving_default")
        inputs = self.graph and list(self.graph.structured_input_signature[1])
        if inputs != ["image_bytes"]:
            raise ValueError(
                "The model does not take encoded images. Expected the signature "
                "serving_default with the input image_bytes alone. Received: "
                f"{self.folder} with {inputs}"
            )
        # The first call of a graph is slow: make it before any client waits.
        self.run([b"no image"])
        self.ready = True
        return self.ready

    async def predict(self, payload, headers=None):
        # In a thread, so that the server continues to accept requests.
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
    """Decodes the images of a request to a list of `bytes`.

    Raises:
        InvalidInput: The request is malformed; KServe answers with status 400.
    """
    with contextlib.suppress(KeyError, TypeError, binascii.Error, ValueError):
        instances = payload["instances"]
        found = [base64.b64decode(each["b64"], validate=True) for each in instances]
        if found:
            return found
    raise InvalidInput(
        'The request is malformed. Expected {"instances": [{"b64": BASE64}, ...]}, '
        f"one image each, as application/json. Received: {str(payload)[:100]}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[kserve_parser],
        conflict_handler="resolve",
    )
    parser.add_argument("--model_dir", required=True, help="version of a SavedModel")
    arguments = parser.parse_args()
    model = SavedModel(arguments.model_name, arguments.model_dir)
    try:
        model.load()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    # KServe's gRPC is another protocol than TensorFlow Serving's: see deploy/grpc.
    kserve.ModelServer(enable_grpc=False).start([model])


if __name__ == "__main__":
    main()
