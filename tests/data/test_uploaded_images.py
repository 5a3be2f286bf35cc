"""Tests finding the files of images that an export names by a server's addresses."""

import pytest

from ram_tf.data.csv_reader.uploaded_images import UploadedImages


@pytest.fixture
def images(tmp_path):
    for path in ("cat.jpg", "photos/dog 1.jpg", "a/x.jpg", "b/x.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return UploadedImages(tmp_path)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("cat.jpg", "cat.jpg"),
        ("/data/upload/1/0123abcd-cat.jpg", "cat.jpg"),
        ("/data/upload/0123abcd-dog%201.jpg", "photos/dog 1.jpg"),
        ("/data/local-files/?d=photos/dog%201.jpg", "photos/dog 1.jpg"),
        ("s3://bucket/photos/dog 1.jpg", "photos/dog 1.jpg"),
        ("https://host/b/x.jpg?token=1", "b/x.jpg"),
        ("C:\\pictures\\a\\x.jpg", "a/x.jpg"),
        ("/data/upload/a/0123abcd-x.jpg", "a/x.jpg"),
        ("../../cat.jpg", "cat.jpg"),
        ("/data/upload/0123abcd-none.jpg", "none.jpg"),
    ],
)
def test_a_file_is_found_by_the_end_of_its_address(images, address, path):
    assert images.find(address, "task 1") == path


def test_a_name_of_several_files_is_refused(images):
    with pytest.raises(ValueError, match=r"task 1 may be several.*a/x\.jpg, b/x\.jpg"):
        images.find("/data/upload/0123abcd-x.jpg", "task 1")


@pytest.mark.parametrize("address", ["", "..", "/", "a\0.jpg"])
def test_an_address_without_a_name_is_refused(images, address):
    with pytest.raises(ValueError, match="task 1"):
        images.find(address, "task 1")
