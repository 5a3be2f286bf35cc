"""Fuzzes the reader of VOC on folders with other classes, as tools export them."""

from fuzz import splits
from fuzz.mutations import files, one_spoilt, spoilt
from fuzz.target import Target
from fuzz.voc_files import ANNOTATION, LAUGH, LAUGHS
from ram_tf.data.voc_reader import voc

LISTED = {
    "ImageSets/Main/train.txt": b'IMG 1\r\n"b 0"\nc.jpg\nday 1/d\n',
    "ImageSets/Main/hard hat_train.txt": b"IMG 1 1\nb 0 -1\n",
    "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:::\n",
    "Annotations/c.xml": ANNOTATION,
    "Annotations/day 1/d.xml": ANNOTATION,
}
BESIDE = {"train/a.xml": ANNOTATION, "valid/b.xml": ANNOTATION}
ALONE = {f"{name}.xml": ANNOTATION for name in "abcdef"}


def target(folder):
    """Returns the reader's target, on folders below this one."""
    valid = {
        f"{place}/{name}": content
        for place, layout in (("0", LISTED), ("1", BESIDE), ("2", ALONE))
        for name, content in layout.items()
    }
    for name, content in valid.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "0/JPEGImages").mkdir(exist_ok=True)

    def read(folder):
        refused = []
        for place in ("0", "1", "2"):
            try:
                split = voc.load(folder / place, None, "train", negatives="keep")
                splits.check(split, folder / place)
            except (ValueError, OSError) as error:
                refused.append(error)
        if refused:
            raise refused[0]

    annotation = spoilt(ANNOTATION, LAUGHS, LAUGH)
    changed = {
        name: annotation if name.endswith(".xml") else spoilt(content)
        for name, content in valid.items()
        if not name.startswith("2/") or name == "2/a.xml"
    }
    inputs = one_spoilt({n: valid[n] for n in changed}, changed)
    return Target(inputs, files(folder, read), {n: valid[n] for n in changed})
