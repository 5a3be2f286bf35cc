"""The output formats of the batch pipeline hold the records."""

import io
import json

import pytest
import tensorflow as tf

from ram_tf.serving.batch.records import FORMATS

LABELS = ("blue", "red")
RECORDS = [
    {
        "image": "photos/ä.png",
        "valid": True,
        "labels": ["red", "blue"],
        "boxes": {"red": [0.1, 0.2, 0.3, 0.4], "blue": [0.5, 0.6, 0.7, 0.8]},
        "scores": {"blue": 0.5, "red": 2.0},
        "probabilities": {"blue": 0.625, "red": 0.875},
    },
    {
        "image": "b\udcff.png",
        "valid": True,
        "labels": [],
        "boxes": {},
        "scores": {"blue": -1.5, "red": -0.25},
        "probabilities": {"blue": 0.25, "red": 0.375},
    },
]


def examples(path):
    for serialized in tf.data.TFRecordDataset(str(path)):
        features = tf.train.Example.FromString(serialized.numpy()).features.feature
        yield {
            name: list(getattr(value, value.WhichOneof("kind")).value)
            for name, value in features.items()
        }


def test_json_lines_hold_the_records():
    lines = FORMATS["jsonl"](RECORDS, LABELS).decode().splitlines()
    assert [json.loads(line) for line in lines] == RECORDS


def test_examples_hold_the_records_in_the_order_of_the_labels(tmp_path):
    path = tmp_path / "part.tfrecord"
    path.write_bytes(FORMATS["tfrecord"](RECORDS, LABELS))
    one, other = examples(path)
    assert one["image"] == ["photos/ä.png".encode()]
    assert one["labels"] == [b"red", b"blue"]
    assert one["boxes"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert (one["valid"], one["scores"], one["probabilities"]) == (
        [1],
        [0.5, 2.0],
        [0.625, 0.875],
    )
    assert other["image"] == [b"b\xff.png"]
    assert (other["labels"], other["boxes"]) == ([], [])


def test_parquet_holds_the_records():
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra beam")
    table = parquet.read_table(io.BytesIO(FORMATS["parquet"](RECORDS, LABELS)))
    rows = [{**row, "boxes": dict(row["boxes"])} for row in table.to_pylist()]
    assert rows == [RECORDS[0], {**RECORDS[1], "image": "b\\xff.png"}]


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_without_readable_images_is_a_file_without_records(name, tmp_path):
    path = tmp_path / "part"
    if name == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra beam")
        path.write_bytes(FORMATS[name]([], LABELS))
        assert parquet.read_table(path).num_rows == 0
    else:
        assert FORMATS[name]([], LABELS) == b""
