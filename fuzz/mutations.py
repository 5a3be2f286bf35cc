"""Hypothesis strategies that corrupt valid bytes, text and JSON."""

import copy
import json

from hypothesis import strategies as st

TOKENS = (
    b"\0",
    b"\xff",
    b"\xff\xd8\xff\xda",
    b"\xff\xfe",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b",",
    b";",
    b"?",
    b"../",
    b"/etc/passwd",
    b"..\\",
    b"C:\\",
    b"nan",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"a" * 140_000,
    b"<a>",
    b"&b;",
    b"[" * 3000,
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(("replace", "insert", "delete", "repeat", "truncate")),
        st.integers(0, 2**20),
        st.integers(1, 64),
        st.sampled_from(TOKENS) | st.binary(max_size=8),
    ),
    max_size=5,
)
# Stands for lists nested deeper than parsers or encoders support; `dumped` inserts it.
DEEP = "@deep@"
ODD = st.sampled_from(
    (
        *(None, True, -1, 0, 1.5, 10**400, 1e308, float("nan"), float("inf")),
        *("", "x", "\ud800", "\0", "..", "../../x", "/etc/passwd", "a\nb", "9" * 5000),
        *([], {}, [[]], [None], {"x": []}, DEEP),
    )
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)


def spoilt(*samples):
    """Draws one of the samples with a few edits, or arbitrary bytes."""
    edited = st.builds(_edit, st.sampled_from(samples), EDITS)
    return st.one_of(edited, edited, edited, st.binary(max_size=200))


def _edit(content, edits):
    for kind, place, length, token in edits:
        place %= len(content) + 1
        head, body, tail = (
            content[:place],
            content[place : place + length],
            content[place + length :],
        )
        content = {
            "replace": head + token + tail,
            "insert": head + token + body + tail,
            "delete": head + tail,
            "repeat": head + body * 9 + tail,
            "truncate": head,
        }[kind]
    return content


def spoilt_json(sample):
    """Draws the bytes of a JSON value with odd values in some of its places."""
    changes = st.lists(
        st.tuples(st.sampled_from([*_places(sample)]), ODD), min_size=1, max_size=3
    )
    changed = st.builds(lambda edits: dumped(_with(sample, edits)), changes)
    return changed | changed | spoilt(json.dumps(sample).encode())


def dumped(value):
    """Encodes a JSON value as bytes, including NaN and lone surrogates."""
    text = json.dumps(value).replace(f'"{DEEP}"', "[" * 100_000)
    return text.encode()


def _places(value, path=()):
    yield path
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _with(value, changes):
    value = [copy.deepcopy(value)]
    for path, new in changes:
        *above, last = (0, *path)
        inside = value
        try:
            for key in above:
                inside = inside[key]
            inside[last] = copy.deepcopy(new)
        except (KeyError, IndexError, TypeError):
            continue  # An earlier change has removed this place.
    return value[0]


def files(folder, read):
    """Returns the `read` of a `Target` whose inputs are dicts from path to bytes."""

    def write_and_read(contents):
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return read(folder)

    return write_and_read


def one_spoilt(valid, strategies):
    """Draws the contents of files of which one or more are spoilt, the others valid.

    Args:
        valid: A dict from path to bytes.
        strategies: A dict from path to a strategy of bytes.
    """
    alone = [
        st.builds(lambda content, name=name: {**valid, name: content}, strategy)
        for name, strategy in strategies.items()
    ]
    together = st.fixed_dictionaries(strategies).map(lambda new: {**valid, **new})
    return st.one_of(*alone, together)
