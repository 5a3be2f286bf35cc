"""Output formats of the batch pipeline: the records of many images as one file.

Every format holds the fields of `predict_files.to_record`: `image`, `valid`, `labels`,
`boxes`, `scores`, `probabilities`. Unreadable images have no record.
"""

import json
import os
import pathlib
import tempfile

import tensorflow as tf


def json_lines(records, label_names):
    """Writes each record as a line of JSON, like those that `predict.py` prints.

    Args:
        records: Dicts of `ram_tf.serving.predict_files.to_record`.
        label_names: Not used, since each record names its labels.

    Returns:
        The bytes of the file.
    """
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def tfrecord(records, label_names):
    """Writes each record as a `tf.train.Example`.

    `image` is one string, `valid` one integer, `labels` n strings, `boxes` 4 n floats
    in the same order, `scores` and `probabilities` L floats in the order of the labels.

    Args:
        records: Dicts of `ram_tf.serving.predict_files.to_record`.
        label_names: The L labels.

    Returns:
        The bytes of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(_example(record, label_names).SerializeToString())
        return path.read_bytes()


def _example(record, label_names):
    predicted = record["labels"]
    features = {
        "image": _strings([record["image"]]),
        "valid": tf.train.Feature(int64_list={"value": [int(record["valid"])]}),
        "labels": _strings(predicted),
        "boxes": _floats([e for name in predicted for e in record["boxes"][name]]),
        "scores": _floats([record["scores"][name] for name in label_names]),
        "probabilities": _floats([record["probabilities"][n] for n in label_names]),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _strings(values):
    # File names need not be UTF-8.
    return tf.train.Feature(bytes_list={"value": [os.fsencode(v) for v in values]})


def _floats(values):
    return tf.train.Feature(float_list={"value": values})


def parquet(records, label_names):
    r"""Writes each record as a row of a Parquet file.

    `scores` and `probabilities` are structs with a 32-bit field for each label, so that
    `probabilities.shoes` is a column of its own; `boxes` is a map from label to four
    numbers. In `image`, bytes that are not UTF-8 are escaped as `\xff`.

    Args:
        records: Dicts of `ram_tf.serving.predict_files.to_record`.
        label_names: The L labels.

    Returns:
        The bytes of the file.
    """
    import pyarrow
    from pyarrow import parquet as files

    by_label = pyarrow.struct([(name, pyarrow.float32()) for name in label_names])
    schema = pyarrow.schema(
        {
            "image": pyarrow.string(),
            "valid": pyarrow.bool_(),
            "labels": pyarrow.list_(pyarrow.string()),
            "boxes": pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.float64())),
            "scores": by_label,
            "probabilities": by_label,
        }
    )
    rows = [
        {
            **record,
            "image": os.fsencode(record["image"]).decode("utf-8", "backslashreplace"),
            "boxes": list(record["boxes"].items()),
        }
        for record in records
    ]
    file = pyarrow.BufferOutputStream()
    files.write_table(pyarrow.Table.from_pylist(rows, schema), file)
    return file.getvalue().to_pybytes()


FORMATS = {"jsonl": json_lines, "tfrecord": tfrecord, "parquet": parquet}
