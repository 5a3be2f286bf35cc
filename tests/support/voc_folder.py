"""Makes a folder in the layout of PASCAL VOC."""

from PIL import Image

from ram_tf.data.voc_reader import voc


def write_split(root, split, marks):
    """Writes images and class files; `marks`: {stem: {class: mark}}, -1 by default."""
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True, exist_ok=True)
    (root / "JPEGImages").mkdir(exist_ok=True)
    for name in voc.LABEL_NAMES:
        lines = [f"{stem} {of.get(name, -1):2d}\n" for stem, of in marks.items()]
        (main / f"{name}_{split}.txt").write_text("".join(lines))
    for stem in marks:
        Image.new("RGB", (50, 40)).save(root / "JPEGImages" / f"{stem}.jpg")
