"""Collects the boxes of the images of a folder in a layout of VOC.

Boxes only measure where a model looks, so that none of them stops the reading of
labels: those that cannot be used are left out and counted.
"""

from ram_tf.data.images import box_frames
from ram_tf.data.readers.boxes_json import as_boxes, read_boxes, unknown_key_notes
from ram_tf.data.voc_reader import voc_labels


class Boxes:
    """The boxes of images, added one after another.

    Args:
        names: The names of the labels.
    """

    def __init__(self, names):
        self._names = frozenset(names)
        self._boxes, self._sizes = [], []
        self._unreadable, self._left_out, self._other_names = [], [], []

    def read_optional(self, entry, read):
        """Reads the annotation of an image whose labels class files say.

        Args:
            entry: The image's `voc_folder.Entry`.
            read: `voc_annotations.read`, or one that remembers.

        Returns:
            An `Annotation`; None without one that can be read.
        """
        try:
            return voc_labels.read_annotation(entry, read)
        except ValueError as error:
            self._unreadable.append(str(error))
            return None

    def add(self, entry, annotation):
        """Adds the boxes of the next image.

        Args:
            entry: The image's `voc_folder.Entry`.
            annotation: Its `Annotation`, or None.
        """
        found = {}
        for name, _, box, fault in annotation.objects if annotation else ():
            if name not in self._names:
                self._other_names.append(name)
            elif box is None:
                self._left_out.append(f"{fault} in {entry.annotation}")
            else:
                found.setdefault(name, []).append(box)
        self._boxes.append({name: as_boxes(boxes) for name, boxes in found.items()})
        self._sizes.append(annotation.size if annotation else None)

    def of_annotations(self, paths):
        """Returns the boxes of the images, and sentences for the log.

        Args:
            paths: The images' files.

        Returns:
            A tuple of dicts, as in `Split`, and a tuple of sentences.
        """
        boxes, turned = box_frames.turn_with_images(paths, self._sizes, self._boxes)
        notes = []
        if self._unreadable:
            notes.append(
                f"{len(self._unreadable)} annotations are left out, and their boxes, "
                f"such as: {self._unreadable[0]}"
            )
        if self._left_out:
            notes.append(
                f"{len(self._left_out)} boxes cannot be used and are left out, such as "
                f"{self._left_out[0]}"
            )
        if self._other_names:
            names = voc_labels.some(sorted({n for n in self._other_names if n}))
            notes.append(
                f"{len(self._other_names)} objects of other names than the class files "
                f"are left out: {names or 'without a name'}"
            )
        return tuple(boxes), (*notes, *turned)


def of_json(path, names, keys, image_keys):
    """Returns the boxes of images by a `boxes.json`.

    Args:
        path: The file.
        names: The names of the labels.
        keys: What the file calls the images.
        image_keys: All names of images that the file may have.

    Returns:
        A tuple of dicts, as in `Split`, and a tuple of sentences for the log; None and
        () without the file.

    Raises:
        ValueError: The file cannot be read.
    """
    if not path.is_file():
        return None, ()
    by_stem = read_boxes(path, names)
    boxes = tuple(by_stem.get(key, {}) for key in keys)
    return boxes, unknown_key_notes(path, by_stem, {*keys, *image_keys})
