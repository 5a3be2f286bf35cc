"""Tests reading what Label Studio exports."""

import json

import numpy as np
import pytest

from ram_tf.data.csv_reader import csv_rows, label_studio

RECTANGLE = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}


def choices(*names):
    return {"type": "choices", "value": {"choices": list(names)}}


def rectangle(*names, **changes):
    value = {**RECTANGLE, "rectanglelabels": list(names), **changes}
    sizes = {"original_width": 200, "original_height": 100}
    return {"type": "rectanglelabels", "value": value, **sizes}


def task(image, *results, **changes):
    annotation = {"id": 1, "result": list(results), "was_cancelled": False, **changes}
    return {"id": 7, "data": {"image": image}, "annotations": [annotation]}


def read_json(folder, content):
    path = folder / "project-1.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return label_studio.read_json(path, folder)


def read_csv(folder, text):
    path = folder / "project-1.csv"
    path.write_text(text)
    return csv_rows.read(path, (), "TREE")


def marks(found):
    return [row.marks for row in found.rows]


def test_choices_are_labels(tmp_path):
    tasks = [task("/data/upload/1/a.jpg", choices("cat", "dog")), task("b.jpg")]
    found = read_json(tmp_path, tasks)
    assert marks(found) == [{"cat": 1, "dog": 1}, {}]
    assert [row.default for row in found.rows] == [0, 0]
    assert [row.boxes for row in found.rows] == [None, None]
    assert found.notes == ()


def test_rectangles_are_labels_and_boxes(tmp_path):
    tasks = [task("a.jpg", choices("dog"), rectangle("cat"), rectangle("cat", x=50))]
    (row,) = read_json(tmp_path, tasks).rows
    assert row.marks == {"cat": 1, "dog": 1}
    np.testing.assert_allclose(
        row.boxes["cat"], [[0.2, 0.1, 0.6, 0.4], [0.2, 0.5, 0.6, 0.8]], rtol=1e-6
    )


def test_a_turned_rectangle_has_the_box_around_it(tmp_path):
    # 200 x 100 pixels: the rectangle of 60 x 40 at (20, 20) becomes 40 x 60.
    (row,) = read_json(
        tmp_path, [task("a.jpg", rectangle("cat", rotation=90, x=50))]
    ).rows
    np.testing.assert_allclose(row.boxes["cat"], [[0.2, 0.3, 0.8, 0.5]], atol=1e-6)


def test_a_polygon_has_the_box_around_it(tmp_path):
    value = {"points": [[10, 20], [50, 20], [30, 90]], "polygonlabels": ["cat"]}
    (row,) = read_json(
        tmp_path, [task("a.jpg", {"type": "polygonlabels", "value": value})]
    ).rows
    np.testing.assert_allclose(row.boxes["cat"], [[0.2, 0.1, 0.9, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"rotation": 9, "original_height": 0},
        {"x": None},
        {"width": -3},
        {"y": 1e999},
        {"height": "tall"},
    ],
)
def test_a_wrong_box_is_told_and_leaves_the_label(tmp_path, changes):
    found = read_json(tmp_path, [task("a.jpg", rectangle("cat", **changes))])
    assert marks(found) == [{"cat": 1}]
    assert "1 of boxes that cannot be read" in found.notes[-1]


def test_tasks_without_annotations_are_left_out_and_told(tmp_path):
    tasks = [
        task("a.jpg", choices("cat")),
        task("b.jpg", choices("cat"), was_cancelled=True),
        {"id": 9, "data": {"image": "c.jpg"}, "annotations": []},
    ]
    found = read_json(tmp_path, tasks)
    assert [row.image for row in found.rows] == ["a.jpg"]
    assert found.notes[0].startswith("2 of 3 tasks")


def test_annotations_of_an_image_are_joined_and_told(tmp_path):
    tasks = [task("a.jpg", choices("cat")), task("a.jpg", choices("dog"))]
    found = read_json(tmp_path, tasks)
    assert marks(found) == [{"cat": 1, "dog": 1}]
    assert "1 images of project-1.json have annotations that differ" in found.notes[0]


def test_other_results_are_told(tmp_path):
    text = {"type": "textarea", "value": {"text": ["a note"]}}
    found = read_json(tmp_path, [task("a.jpg", choices("cat"), text)])
    assert "passed over: 1 of textarea" in found.notes[0]


def test_the_short_json_is_read(tmp_path):
    entry = {"id": 1, "annotator": 1, "annotation_id": 3, "lead_time": 4.2}
    label = [{**RECTANGLE, "rectanglelabels": ["car"], "original_width": 9}]
    tasks = [
        {**entry, "image": "/data/upload/a.jpg", "choice": "cat"},
        {**entry, "image": "b.jpg", "choice": {"choices": ["cat", "dog"]}},
        {**entry, "image": "c.jpg", "label": label},
    ]
    found = read_json(tmp_path, tasks)
    assert marks(found) == [{"cat": 1}, {"cat": 1, "dog": 1}, {"car": 1}]
    assert found.rows[2].boxes["car"].shape == (1, 4)


def test_the_csv_is_read(tmp_path):
    text = (
        "annotation_id,annotator,choice,created_at,id,image,label,lead_time,source\n"
        '1,1,"{""choices"": [""cat"", ""dog""]}",now,1,/data/upload/1/a.jpg,,4,web\n'
        '2,1,cat,now,2,b.jpg,"[{""x"": 10, ""y"": 20, ""width"": 30, ""height"": 40, '
        '""rectanglelabels"": [""car""]}]",4,web\n'
        "3,1,,now,3,c.jpg,[],4,web\n"
    )
    found = read_csv(tmp_path, text)
    assert [row.image for row in found.rows] == ["a.jpg", "b.jpg", "c.jpg"]
    assert marks(found) == [{"cat": 1, "dog": 1}, {"car": 1, "cat": 1}, {}]
    np.testing.assert_allclose(found.rows[1].boxes["car"], [[0.2, 0.1, 0.6, 0.4]])
    assert found.notes == ("columns of project-1.csv passed over: source",)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"images": []}', "no export of Label Studio"),
        ("[1]", "no export of Label Studio"),
        ('[{"id": 1}]', "no image in task 1"),
        ('[{"data": 3}]', "no image in task 1"),
        (
            '[{"data": {"image": ""}, "annotations": [{}]}]',
            "not lie in the data folder",
        ),
        ('[{"data": {"image": "a.jpg"}, "annotations": 3}]', "Task 1 .*cannot be read"),
        ('[{"data": {"image": "a.jpg"}, "annotations": [3]}]', "cannot be read"),
        (
            '[{"data": {"image": "a.jpg"}, "annotations": [{"result": [{"value": '
            '{"choices": [3]}}]}]}]',
            "cannot be read",
        ),
    ],
)
def test_what_is_no_export_is_refused(tmp_path, content, match):
    with pytest.raises(ValueError, match=match):
        read_json(tmp_path, content)


def test_an_export_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without labels"):
        read_csv(tmp_path, "annotation_id,image,lead_time\n1,a.jpg,3\n")
