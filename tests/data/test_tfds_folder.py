"""Tests reading VOC and COCO through tensorflow-datasets."""

import contextlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from ram_tf.data.readers import tfds_folder
from ram_tf.data.voc_reader import voc
from tests.support.full_disk import full_above
from tests.support.lock_holder import at_work

CAT, DOG = voc.LABEL_NAMES.index("cat"), voc.LABEL_NAMES.index("dog")
BOX = [0.1, 0.2, 0.5, 0.6]


def jpeg(shade):
    data = io.BytesIO()
    Image.new("RGB", (50, 40), (shade, shade, shade)).save(data, "JPEG")
    return data.getvalue()


def example(name, shade, objects, difficult=True):
    """Returns an example of TFDS; `objects` is a list of (label, is_difficult)."""
    fields = {
        "label": np.array([label for label, _ in objects], np.int64),
        "bbox": np.array([BOX] * len(objects), np.float32).reshape(-1, 4),
    }
    if difficult:
        fields["is_difficult"] = np.array([hard for _, hard in objects], bool)
    return {"image": jpeg(shade), "image/filename": name, "objects": fields}


VOC = {
    "train": [
        example("000002.jpg", 2, [(CAT, False), (CAT, True), (DOG, True)]),
        example("000001.jpg", 1, [(DOG, False)]),
    ],
    "validation": [example("000003.jpg", 3, [(CAT, False)])],
    "test": [example("000004.jpg", 4, [(DOG, False)])],
}
COCO = {
    "train": [
        example("b.jpg", 1, [(79, False)], difficult=False),
        example("a.jpg", 2, [], difficult=False),
    ]
}


@contextlib.contextmanager
def mocked(examples, asked):
    """Makes TFDS yield these examples; `asked` collects the splits that are read.

    The default examples of `mock_data` cannot be encoded, as the fields of its objects
    have different lengths.
    """

    def as_dataset(self, split, decoders=None, **kwargs):
        del self, kwargs
        asked.append(split)
        # The images must not be decoded.
        assert isinstance(decoders["image"], tfds.decode.SkipDecoding)
        one = examples[split][0]
        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec(
                (None, *np.shape(v)[1:]) if np.ndim(v) else (),
                tf.as_dtype(np.asarray(v).dtype)
                if not isinstance(v, str | bytes)
                else tf.string,
            ),
            one,
        )
        return tf.data.Dataset.from_generator(
            lambda: iter(examples[split]), output_signature=signature
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield


@pytest.fixture
def manual(tmp_path):
    """Returns a folder with every archive, so that none is downloaded."""
    folder = tmp_path / "manual"
    folder.mkdir()
    for archives in tfds_folder.ARCHIVES.values():
        for archive in archives:
            (folder / archive).touch()
    return folder


def load(name, split, tmp_path, examples, asked=None, **kwargs):
    with mocked(examples, [] if asked is None else asked):
        return tfds_folder.load(
            name, split, tmp_path / "tfds", tmp_path / "manual", **kwargs
        )


def test_the_encoded_images_are_written_unchanged(tmp_path, manual):
    split = load("voc2007", "train", tmp_path, VOC)
    folder = tmp_path / "tfds" / "ram_tf" / "voc2007" / "train"
    assert split.images == (str(folder / "000001.jpg"), str(folder / "000002.jpg"))
    assert split.names == ("train/000001.jpg", "train/000002.jpg")
    assert [Path(image).read_bytes() for image in split.images] == [jpeg(1), jpeg(2)]


@pytest.mark.parametrize(
    ("policy", "label"), [("unknown", -1), ("positive", 1), ("negative", 0)]
)
def test_a_label_is_positive_if_any_object_is_not_difficult(
    tmp_path, manual, policy, label
):
    split = load("voc2007", "train", tmp_path, VOC, difficult=policy)
    assert split.labels[1, CAT] == 1
    assert split.labels[1, DOG] == label
    assert split.labels[0, DOG] == 1
    assert split.labels[0, CAT] == 0
    assert split.notes == (f"1 labels with difficult objects only: taken as {policy}.",)


def test_boxes_are_those_of_the_objects(tmp_path, manual):
    boxes = load("voc2007", "train", tmp_path, VOC).boxes
    assert boxes[1].keys() == {"cat", "dog"}
    np.testing.assert_allclose(boxes[1]["cat"], [BOX, BOX], rtol=1e-6)


def test_trainval_is_built_from_both(tmp_path, manual):
    asked = []
    split = load("voc2007", "trainval", tmp_path, VOC, asked)
    assert asked == ["train", "validation"]
    assert [Path(name).name for name in split.names] == [
        "000001.jpg",
        "000002.jpg",
        "000003.jpg",
    ]


def test_a_finished_split_is_not_read_from_tfds_again(tmp_path, manual):
    first = load("voc2007", "train", tmp_path, VOC)
    asked = []
    again = load("voc2007", "train", tmp_path, VOC, asked)
    assert asked == []
    assert again.images == first.images
    np.testing.assert_array_equal(again.labels, first.labels)


def test_an_interrupted_split_is_continued(tmp_path, manual):
    def cut():
        yield VOC["train"][0]
        raise KeyboardInterrupt

    class Cut(list):
        def __iter__(self):
            return cut()

    # TensorFlow may replace a generator's exception by its own.
    with pytest.raises((KeyboardInterrupt, tf.errors.OpError)):
        load("voc2007", "train", tmp_path, {"train": Cut(VOC["train"])})
    folder = tmp_path / "tfds" / "ram_tf" / "voc2007" / "train"
    assert [path.name for path in folder.iterdir()] == ["000002.jpg"]
    before = (folder / "000002.jpg").stat().st_mtime_ns
    assert len(load("voc2007", "train", tmp_path, VOC)) == 2
    assert (folder / "000002.jpg").stat().st_mtime_ns == before


def test_a_file_that_cannot_be_finished_is_named_and_leaves_nothing(tmp_path, manual):
    large = {"train": [VOC["train"][0] | {"image": bytes(200_000)}]}
    with full_above(100_000), pytest.raises(OSError, match="cannot be wri") as caught:
        load("voc2007", "train", tmp_path, large)
    folder = tmp_path / "tfds" / "ram_tf" / "voc2007" / "train"
    assert str(folder / "000002.jpg") in str(caught.value)
    assert list(folder.iterdir()) == []


def test_temporary_files_of_a_killed_process_are_removed(tmp_path, manual):
    folder = tmp_path / "tfds" / "ram_tf" / "voc2007" / "train"
    folder.mkdir(parents=True)
    (folder / "partial-1-000002.jpg").write_bytes(jpeg(2)[:9])
    (folder / "lock").touch()
    load("voc2007", "train", tmp_path, VOC)
    names = {path.name for path in folder.iterdir()}
    assert names == {"000001.jpg", "000002.jpg", "index.json"}


def test_temporary_files_of_a_running_process_are_kept(tmp_path, manual):
    folder = tmp_path / "tfds" / "ram_tf" / "voc2007" / "train"
    folder.mkdir(parents=True)
    (folder / "partial-1-000002.jpg").write_bytes(jpeg(2)[:9])
    with at_work(folder / "lock"):
        assert len(load("voc2007", "train", tmp_path, VOC)) == 2
    names = {path.name for path in folder.iterdir()}
    assert names >= {"partial-1-000002.jpg", "lock", "index.json"}


@pytest.mark.parametrize("name", ["coco2014", "coco2017"])
def test_coco_images_without_labels_are_dropped_and_counted(tmp_path, manual, name):
    split = load(name, "train", tmp_path, COCO)
    assert split.names == ("train/b.jpg",)
    assert split.notes == ("1 of 2 images without any label: dropped.",)
    assert split.labels.shape == (1, 80)
    assert split.labels[0, 79] == 1
    assert split.labels.sum() == 1
    assert not (Path(split.images[0]).parent / "a.jpg").exists()


def test_a_split_without_any_labels_is_refused(tmp_path, manual):
    with pytest.raises(ValueError, match=r"has no images.*Received: 1 without"):
        load("coco2014", "train", tmp_path, {"train": COCO["train"][1:]})


def test_the_index_contains_files_and_objects(tmp_path, manual):
    split = load("voc2007", "train", tmp_path, VOC)
    index = json.loads((Path(split.images[0]).parent / "index.json").read_text())
    assert index["images"][0]["file"] == "000001.jpg"
    assert index["images"][0]["objects"][0][:2] == [DOG, False]


@pytest.mark.parametrize("name", ["voc2012", "coco2014", "coco2017"])
def test_a_test_split_without_labels_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="has no labels in public"):
        tfds_folder.load(name, "test", tmp_path)


@pytest.mark.parametrize("arguments", [("voc2010", "train"), ("voc2007", "validation")])
def test_unknown_names_list_the_known_ones(tmp_path, arguments):
    with pytest.raises(ValueError, match=r"voc2007, voc2012, coco2014.*trainval, test"):
        tfds_folder.load(*arguments, tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("voc2007", ["VOC2007/\n", "VOCtest_06-Nov-2007.tar"]),
        ("coco2014", ["annotations/instances_train2014.json", "train2014.zip"]),
    ],
)
def test_without_a_network_the_error_shows_how_to_provide_the_dataset(
    tmp_path, monkeypatch, name, shown
):
    def unreachable(request, timeout):
        raise tfds_folder.urllib.error.URLError("no network")

    monkeypatch.setattr(tfds_folder.urllib.request, "urlopen", unreachable)
    with pytest.raises(FileNotFoundError, match="--data_dir, or its archives as"):
        tfds_folder.load(name, "train", tmp_path)
    with pytest.raises(FileNotFoundError, match="no network") as caught:
        tfds_folder.load(name, "train", tmp_path, manual_dir=tmp_path)
    assert all(part in str(caught.value) for part in shown)


def test_a_broken_archive_is_refused_with_the_reason(tmp_path, manual):
    with pytest.raises(FileNotFoundError, match="wrong checksum"):
        tfds_folder.load("voc2007", "train", tmp_path / "tfds", manual)


def test_the_default_folder_is_that_of_tfds(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert tfds_folder.default_data_dir() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert str(tfds_folder.default_data_dir()) == str(
        Path("~/tensorflow_datasets").expanduser()
    )


def test_archives_are_files_that_tfds_needs(tmp_path):
    for name, archives in tfds_folder.ARCHIVES.items():
        builder = tfds.builder(tfds_folder.BUILDERS[name], data_dir=tmp_path)
        known = {info.filename for info in builder.url_infos.values()}
        assert set(archives) <= known


ANNOTATION = """<annotation><size><width>50</width><height>40</height></size>
<object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated>
<difficult>{hard}</difficult><bndbox><xmin>5</xmin><ymin>4</ymin><xmax>25</xmax>
<ymax>20</ymax></bndbox></object></annotation>"""


def test_archives_in_manual_dir_are_prepared_without_a_network(tmp_path, monkeypatch):
    """Only the archives' contents, and their checksums, are replaced."""
    main = "VOCdevkit/VOC2007/ImageSets/Main/{}.txt"
    archives = {
        "VOCtrainval_06-Nov-2007.tar": {"train": ["000001", "000002"], "val": ["3"]},
        "VOCtest_06-Nov-2007.tar": {"test": ["4"]},
    }
    infos = tfds.builder("voc/2007", data_dir=tmp_path).url_infos
    for archive, splits in archives.items():
        with tarfile.open(tmp_path / archive, "w") as tar:
            for split, stems in splits.items():
                files = {main.format(split): "\n".join(stems).encode()}
                for i, stem in enumerate(stems):
                    root = "VOCdevkit/VOC2007/"
                    files[f"{root}JPEGImages/{stem}.jpg"] = jpeg(i)
                    annotation = ANNOTATION.format(hard=i).encode()
                    files[f"{root}Annotations/{stem}.xml"] = annotation
                for path, content in files.items():
                    member = tarfile.TarInfo(path)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        url = next(url for url, info in infos.items() if info.filename == archive)
        info = tfds.core.download.checksums.compute_url_info(tmp_path / archive)
        monkeypatch.setitem(infos, url, info)

    split = tfds_folder.load("voc2007", "train", tmp_path / "tfds", tmp_path)
    assert split.names == ("train/000001.jpg", "train/000002.jpg")
    assert split.labels[:, CAT].tolist() == [1, -1]
    assert Path(split.images[1]).read_bytes() == jpeg(1)
    np.testing.assert_allclose(split.boxes[0]["cat"], [[0.1, 0.1, 0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../../secret.jpg"}, "does not lie in the data folder"),
        ({"file": "/etc/passwd"}, "does not lie in the data folder"),
        ({"objects": [[20, False, [0, 0, 1, 1]]]}, "out of range"),
        ({"objects": [[1, False, [0, 0, 1, float("nan")]]]}, "finite"),
        ({"objects": 7}, "TypeError"),
    ],
)
def test_an_invalid_index_is_named(tmp_path, change, message):
    folder = tmp_path / "ram_tf" / "voc2007" / "train"
    folder.mkdir(parents=True)
    entry = {"file": "1.jpg", "objects": [[1, False, [0, 0, 1, 1]]]}
    index = {"label_names": voc.LABEL_NAMES, "dropped": 0, "images": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    assert len(tfds_folder.load("voc2007", "train", tmp_path)) == 1
    entry.update(change)
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=rf"index\.json cannot be read.*{message}"):
        tfds_folder.load("voc2007", "train", tmp_path)
