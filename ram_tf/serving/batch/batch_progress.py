"""What is shown of a batch: a bar while it runs, and a table of its images."""

import collections
import contextlib
import threading

from ram_tf.data import progress
from ram_tf.data.images.image_faults import REASONS

INTERVAL = 2  # seconds


@contextlib.contextmanager
def bar(batch, todo):
    """Shows how many shards are finished, by listing the folder.

    Args:
        batch: The `Batch`.
        todo: A list of the shards that this start is to finish.
    """
    ended = threading.Event()
    with progress.bar(None, "predicting", len(todo), "shard", leave=True) as shown:

        def update():
            shown.update(len(todo) - len(batch.unfinished()) - shown.n)

        def keep_updating():
            while not ended.wait(INTERVAL):
                update()

        thread = threading.Thread(target=keep_updating, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            update()


def table(batch, todo):
    """Formats the numbers of images as a table.

    Args:
        batch: The `Batch`, all of whose shards are finished.
        todo: A list of the shards that this start has finished.

    Returns:
        Lines of text, with a column for this start and one for the whole batch.
    """
    before = set(batch.shards) - set(todo)
    now, earlier = _count(batch, todo), _count(batch, before)
    rows = [("images", "this start", "in all")]
    rows += [
        (name, str(now[name]), str(now[name] + earlier[name]))
        for name in ("read", "predicted", *REASONS)
    ]
    return "\n".join(f"{name:<16}{here:>12}{ever:>12}" for name, here, ever in rows)


def _count(batch, shards):
    unread, total = batch.unread(shards), sum(shard.count for shard in shards)
    predicted = total - unread.total()
    return collections.Counter({"read": total, "predicted": predicted, **unread})
