"""Reads VOC's lists: the splits' images, and the class files with their labels."""

# The spellings of the splits, as tools and people write them.
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "trainval": ("trainval",),
    "default": ("default",),  # CVAT's, of tasks without subsets
}
_CANONICAL = {
    spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings
}
MARKS = ("1", "0", "-1")


def canonical(name):
    """Returns the name of a split for its spelling; other names stay as they are.

    >>> canonical("Valid"), canonical("mine")
    ('val', 'mine')
    """
    return _CANONICAL.get(name.lower(), name)


class ImageSets:
    """The lists in `ImageSets/Main`.

    `train.txt` lists the images of a split, one a line. A class file `cat_train.txt`
    has one image a line and 1 (present), 0 (difficult objects only) or -1 (absent).
    Names of classes and images may have spaces.

    Args:
        folder: The folder.
        asked: The name of the split that is to be read: its class files are found
            without a list, too.
        certain: Names of classes whose files are class files whatever they contain.
    """

    def __init__(self, folder, asked, certain):
        self.folder = folder
        paths = {path.stem: path for path in sorted(folder.glob("*.txt"))}
        known = {*_CANONICAL, asked.lower()}
        divided = {stem: _divided(stem, known) for stem in paths}
        sure = {
            stem for stem, found in divided.items() if found and found[0] in certain
        }
        others = [stem for stem in paths if stem not in sure]
        plain = {s for s in others if s.lower() in known or not _has_marks(paths[s])}
        endings = known | {stem.lower() for stem in plain}
        self._lists, self._class_files = {}, {}
        for stem, path in paths.items():
            found = None if stem in plain else _divided(stem, endings)
            if found:
                files = self._class_files.setdefault(canonical(found[1]), {})
                self._add(files, found[0], path)
            else:
                self._add(self._lists, canonical(stem), path)

    def _add(self, files, name, path):
        if name in files:
            raise ValueError(
                f"Two files of {self.folder} are of the same split. Expected one. "
                f"Received: {files[name].name} and {path.name}"
            )
        files[name] = path

    @property
    def splits(self):
        """The names of the splits, sorted."""
        return tuple(sorted({*self._lists, *self._class_files}))

    @property
    def classes(self):
        """The names of the classes with class files of any split, sorted."""
        return tuple(sorted({c for files in self._class_files.values() for c in files}))

    def has_class_files(self, split):
        """Whether a split has class files."""
        return split in self._class_files

    def missing(self, split, names):
        """Returns the names of the class files that a split lacks.

        Args:
            split: The split's name.
            names: The names of the classes.
        """
        files = self._class_files.get(split, {})
        return [f"{name}_{split}.txt" for name in names if name not in files]

    def marks(self, split, names):
        """Reads the class files of a split.

        Args:
            split: The split's name.
            names: The names of its classes; each has a class file.

        Returns:
            A dict from image to a list of its marks, in the order of `names`.

        Raises:
            ValueError: A file cannot be read, or the files list different images.
        """
        paths = [self._class_files[split][name] for name in names]
        columns = [_read_class_file(path) for path in paths]
        for path, column in zip(paths, columns, strict=True):
            if column.keys() != columns[0].keys():
                different = sorted(column.keys() ^ columns[0].keys())
                raise ValueError(
                    f"{path} lists other images than {paths[0].name}. Expected the "
                    f"same in every class file. Received: {len(different)} in one of "
                    f"them only, the first of them {different[0]}"
                )
        return {stem: [column[stem] for column in columns] for stem in columns[0]}

    def images(self, split):
        """Returns the images that a split's list names, each once; () without one."""
        if split not in self._lists:
            return ()
        return tuple(dict.fromkeys(map(_unquoted, _lines(self._lists[split]))))


def _divided(stem, endings):
    """Divides a class file's name into class and split; None if it has no split."""
    at = stem.find("_", 1)  # from the left: the longest name of a split is taken
    while at > 0:
        if stem[at + 1 :].lower() in endings:
            return stem[:at], stem[at + 1 :]
        at = stem.find("_", at + 1)
    return None


def _has_marks(path):
    """Whether a file may be a class file: most lines end with a mark, or it is empty.

    A list of images may have names as `IMG 1`, and a class file a spoilt line.
    """
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    lines = [line.split() for line in lines if line.strip()]
    marked = sum(len(fields) > 1 and fields[-1] in MARKS for fields in lines)
    return not lines or 2 * marked > len(lines)


def _lines(path):
    try:
        # Windows' editors write a byte order mark before the first image.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} cannot be read. Expected UTF-8 text. Received: {error}"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unquoted(name):
    """Removes the quotes around a name with spaces, as some tools write it."""
    quoted = len(name) > 2 and name[0] == name[-1] == '"'
    return name[1:-1] if quoted else name


def _read_class_file(path):
    marks = {}
    for number, line in enumerate(_lines(path), 1):
        # From the right: a name may have spaces.
        name, _, mark = line.replace("\t", " ").rpartition(" ")
        name = _unquoted(name.strip())
        if not name or mark not in MARKS:
            raise ValueError(
                f"Line {number} of {path} cannot be read. Expected an image and 1, 0 "
                f"or -1. Received: {line!r}"
            )
        if marks.setdefault(name, int(mark)) != int(mark):
            raise ValueError(
                f"{path} names an image twice, with different marks. Expected one line "
                f"an image. Received: {name!r} with {marks[name]} and {mark}"
            )
    return marks


def read_label_map(path):
    """Reads the names of CVAT's `labelmap.txt`, in its order.

    A line is `label:color_rgb:parts:actions`.

    Args:
        path: The file, which need not exist.

    Returns:
        A tuple of names.

    Raises:
        ValueError: The file is no UTF-8 text.
    """
    if not path.is_file():
        return ()
    names = (
        line.split(":")[0].strip() for line in _lines(path) if not line.startswith("#")
    )
    return tuple(dict.fromkeys(n for n in names if n))
