"""Fuzzes the reader of VOC's class files and annotations."""

import os

from hypothesis import strategies as st

from fuzz import splits
from fuzz.mutations import files, one_spoilt, spoilt
from fuzz.target import Target
from ram_tf.data.voc_reader import voc

MARKS = b"2012_1  1\n2012_2 -1\n2012_3  0\n"
ANNOTATION = b"""<?xml version="1.0" encoding="utf-8"?>
<annotation><size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox>
<xmin>6</xmin><ymin>5</ymin><xmax>25</xmax><ymax>40</ymax></bndbox></object>
<object><name>fox</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>
<ymax>2</ymax></bndbox></object></annotation>"""
LAUGHS = (
    b'<!DOCTYPE a [<!ENTITY l "ha">'
    + b"".join(
        b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10 if i else b"&l;" * 10)
        for i in range(12)
    )
    + b'<!ENTITY b SYSTEM "file:///etc/passwd">]>'
    + ANNOTATION[39:].replace(b"cat", b"&l11;&b;")
)
# One long entity without nesting: parsers limit only nested entities.
LAUGH = b'<!DOCTYPE a [<!ENTITY l "%s">]>' % (b"ha" * 30_000)
LAUGH += ANNOTATION[39:].replace(b"cat", b"&l;" * 90)
PLACES = {name: f"VOC2012/ImageSets/Main/{name}_train.txt" for name in voc.LABEL_NAMES}
CAT, DOG = PLACES["cat"], PLACES["dog"]
ANNOTATED = "VOC2012/Annotations/2012_1.xml"
VALID = {**dict.fromkeys(PLACES.values(), MARKS), ANNOTATED: ANNOTATION}


def target(folder):
    """Returns the reader's target, on files in this folder."""
    for name, content in VALID.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "VOC2012/JPEGImages").mkdir(exist_ok=True)

    def read(folder):
        splits.check(voc.load(folder, 2012, "train"), folder)

    # Most class files are links to one file, to write it once.
    for place in PLACES.values():
        if place not in (CAT, DOG):
            (folder / place).unlink()
            os.link(folder / DOG, folder / place)

    valid = {CAT: MARKS, DOG: MARKS, ANNOTATED: ANNOTATION}
    spoilt_marks, annotation = spoilt(MARKS), spoilt(ANNOTATION, LAUGHS, LAUGH)
    alone = one_spoilt(valid, {CAT: spoilt_marks, ANNOTATED: annotation})
    all_classes = spoilt_marks.map(lambda marks: {**valid, CAT: marks, DOG: marks})
    inputs = st.one_of(alone, alone, all_classes)
    return Target(inputs, files(folder, read), valid)
