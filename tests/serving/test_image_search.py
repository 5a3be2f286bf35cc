"""Tests which image files are found in folders and lists."""

import os

import pytest

from ram_tf.serving import image_search
from ram_tf.serving.image_search import find_images, parse_list, search


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(found, folder):
    return [str(path.relative_to(folder)) for path in found.paths]


def test_every_ending_of_an_image_is_found_in_any_letter_case(tmp_path):
    endings = "jpg JPG Jpeg jpe jfif JFIF png webp WEBP gif bmp dib tif TIFF".split()
    touch(tmp_path, *(f"{i:02}.{ending}" for i, ending in enumerate(endings)))
    found = search([tmp_path])
    assert len(found.paths) == len(endings)
    assert not found.notes


def test_what_is_passed_over_is_counted_by_kind_and_named(tmp_path):
    touch(tmp_path, "a.jpg", "b.txt", "c.TXT", "sub/d.heic", "README")
    (note,) = search([tmp_path]).notes
    assert "passed over 4 files" in note
    assert "2 .txt (b.txt, c.TXT)" in note
    assert "1 .heic (d.heic)" in note
    assert "1 without an ending (README)" in note


def test_many_files_of_a_kind_are_counted_but_not_all_named(tmp_path):
    touch(tmp_path, "a.jpg", *(f"{i}.txt" for i in range(9)))
    (note,) = search([tmp_path]).notes
    assert "9 .txt (0.txt, 1.txt, 2.txt, ...)" in note


def test_linked_folders_are_searched(tmp_path):
    touch(tmp_path, "photos/a.jpg", "disk/b.jpg", "disk/deep/c.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "disk")
    found = search([tmp_path / "photos"])
    assert names(found, tmp_path / "photos") == [
        "a.jpg",
        "more/b.jpg",
        "more/deep/c.jpg",
    ]


def test_links_in_a_circle_end(tmp_path):
    touch(tmp_path, "photos/a.jpg", "photos/sub/b.jpg", "other/c.jpg")
    (tmp_path / "photos" / "sub" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "sub" / "other").symlink_to("../../other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "photos")
    found = search([tmp_path / "photos"])
    listed = names(found, tmp_path / "photos")
    assert listed == ["a.jpg", "sub/b.jpg", "sub/other/c.jpg"]
    assert "2 links to folders that are searched already" in found.notes[0]


def test_a_folder_is_listed_by_its_own_path_before_those_of_links(tmp_path):
    touch(tmp_path, "z/b.jpg")
    (tmp_path / "a").symlink_to("z")
    assert names(search([tmp_path]), tmp_path) == ["z/b.jpg"]


def test_links_that_lead_nowhere_are_told(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("none")
    (tmp_path / "c.jpg").symlink_to("c.jpg")
    (note,) = search([tmp_path]).notes
    assert "2 links that lead nowhere" in note


def test_a_folder_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "closed/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(image_search.os, "scandir", refuse)
    found = search([tmp_path])
    assert names(found, tmp_path) == ["a.jpg"]
    assert "1 folders that cannot be opened: closed" in found.notes[0]


def test_missing_paths_and_empty_folders_stay_among_the_others(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / name for name in ("none.jpg", "a.jpg", "empty", "a\0b")]
    found = search(paths)
    assert found.paths == paths
    assert "no images" in found.notes[0]


def test_where_all_images_are_needed_missing_ones_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such image"):
        find_images([tmp_path / "none.jpg"])
    with pytest.raises(FileNotFoundError, match="holds no images"):
        find_images([tmp_path])


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg\nb c.jpg\n",
        b"a.jpg\r\nb c.jpg\r\n",
        b"\r\na.jpg\r\n\n  \nb c.jpg",
        b"\xef\xbb\xbfa.jpg\r\nb c.jpg\r\n",
        "a.jpg\r\nb c.jpg\r\n".encode("utf-16"),
    ],
)
def test_lists_of_any_system_are_read(content):
    assert parse_list(content) == ["a.jpg", "b c.jpg"]


def test_names_need_not_be_utf8():
    assert os.fsencode(parse_list(b"caf\xe9.jpg\n")[0]) == b"caf\xe9.jpg"


def test_a_carriage_return_that_belongs_to_a_name_is_kept(tmp_path):
    path = tmp_path / "a\r"
    path.touch()
    assert parse_list(f"{path}\n".encode()) == [str(path)]


def test_a_list_in_damaged_utf16_is_refused():
    with pytest.raises(ValueError, match="Expected UTF-16"):
        parse_list(b"\xff\xfea")
