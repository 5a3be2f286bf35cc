"""Makes folders in layouts of VOC with other classes, as tools leave them."""

from PIL import Image

OBJECT = """
<object><name>{}</name><difficult>{}</difficult><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
BOX = (6, 5, 25, 40)


def annotation(*names, difficult=0, box=BOX, filename="x.jpg"):
    """Returns the XML of an image of 50 x 40 pixels with an object a name."""
    objects = "".join(OBJECT.format(name, difficult, *box) for name in names)
    return (
        f"<annotation><filename>{filename}</filename><size><width>50</width>"
        f"<height>40</height><depth>3</depth></size>{objects}</annotation>"
    )


def write_pair(image, xml, *names, **options):
    """Writes an image and its annotation, and the folders of both."""
    write_image(image)
    xml.parent.mkdir(parents=True, exist_ok=True)
    xml.write_text(annotation(*names, **options))


def write_image(path):
    """Writes an image of 50 x 40 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".png": "PNG"}.get(path.suffix.lower(), "JPEG")
    Image.new("RGB", (50, 40)).save(path, kind)


def write_listed(root, splits, suffix=".jpg"):
    """Writes images, annotations and lists; `splits`: {split: {stem: labels}}."""
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True, exist_ok=True)
    for split, images in splits.items():
        (main / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in images))
        for stem, names in images.items():
            image = root / "JPEGImages" / f"{stem}{suffix}"
            write_pair(image, root / "Annotations" / f"{stem}.xml", *names)


def write_beside(folder, images, suffix=".jpg"):
    """Writes images with their annotations beside them; `images`: {stem: labels}."""
    for stem, names in images.items():
        write_pair(folder / f"{stem}{suffix}", folder / f"{stem}.xml", *names)
