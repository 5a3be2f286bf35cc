"""The text of a `DatasetCheck`: a table of the splits, and one line per finding."""

from ram_tf.data.split import shortened
from ram_tf.evaluation.text_tables import align

MOST_NAMES = 3
# Ours: a sentence with the name of every unreadable image may have thousands.
MOST_LETTERS = 500
COLUMNS = (
    *("images", "labels", "positives", "labels without"),
    *("unreadable", "boxes", "outside", "empty"),
)


def table(result, is_loaded=False):
    """Formats what was found in the splits of a run.

    Args:
        result: A `ram_tf.runs.splits.dataset_check.DatasetCheck`.
        is_loaded: Whether the run begins: then labels are not counted one by one, and
            what `run_splits.load` has printed is not repeated.

    Returns:
        Several lines.
    """
    rows = [("", *COLUMNS), *(_row(split) for split in result.splits)]
    lines = [" ".join([result.dataset, result.data_dir]).strip(), *align(rows)]
    if not is_loaded:
        lines += ["", *_table_of_labels(result), ""]
        lines += [
            f"{split.use}: {bad['image']} cannot be read: {bad['detail']}"
            for split in result.splits
            for bad in split.unreadable
        ]
    for split in result.splits:
        if not (is_loaded and split.use == "training"):
            lines += _line_of_labels(split)
        lines += _lines_of_boxes(split)
    lines += [_line_of_shared(shared) for shared in result.shared if _count(shared)]
    for sentence in result.refusals:
        if len(sentence) > MOST_LETTERS:
            sentence = f"{sentence[:MOST_LETTERS]} ..."
        lines.append(f"fit refuses this: {sentence}")
    return "\n".join(lines).rstrip("\n")


def _row(split):
    place = f"a tenth of {split.split}" if split.is_held_out else split.split
    boxes = "none" if split.boxes is None else str(split.boxes)
    counts = (
        split.images,
        len(split.positives),
        sum(split.positives.values()),
        len(split.without_positives),
        len(split.unreadable),
        boxes,
        len(split.outside),
        len(split.empty),
    )
    return (f"{split.use}: {place}", *map(str, counts))


def _table_of_labels(result):
    names = dict.fromkeys(n for split in result.splits for n in split.positives)
    rows = [("positives", *(split.use for split in result.splits))]
    for name in names:
        counts = (str(split.positives.get(name, "-")) for split in result.splits)
        rows.append((name, *counts))
    return align(rows)


def _line_of_labels(split):
    missing = split.without_positives
    if not missing:
        return []
    return [
        f"{split.use}: {len(missing)} of {len(split.positives)} labels have no "
        f"positives: {shortened(missing)}"
    ]


def _lines_of_boxes(split):
    for names, how in (
        (split.outside, "leave their image"),
        (split.empty, "are empty"),
    ):
        if names:
            yield (
                f"{split.use}: {len(names)} of {split.boxes} boxes {how}: "
                f"{shortened(list(dict.fromkeys(names)), MOST_NAMES)}"
            )


def _count(shared):
    return len(shared.exact) + len(shared.near)


def _line_of_shared(shared):
    pairs = [f"{a} is {b}" for a, b in shared.exact]
    pairs += [f"{a} is like {b}" for a, b in shared.near]
    return (
        f"{shared.use}: {_count(shared)} images are in {shared.other}, too, "
        f"{len(shared.exact)} the same file and {len(shared.near)} nearly the same "
        f"picture: {shortened(pairs, MOST_NAMES)}"
    )
