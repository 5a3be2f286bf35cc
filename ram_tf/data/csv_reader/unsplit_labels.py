"""Finds labels that are several labels with a separator other than `;` between them."""

import re

from ram_tf.data.split import shortened

# Rare in a name, usual between names; the last are Chinese and full-width ones.
_USUAL = re.compile("[,|/\t&+\uff0c\u3001\uff1b\uff5c\uff0f]")
_SPACE = re.compile(r"\s")
# Usual in a name: suspicious only if all parts are labels.
_RARE = re.compile(r"[-_:.]")


def check(places, allowed=()):
    """Checks the labels of columns that list them by name.

    Args:
        places: From each listed label to the place of its first row, for messages; or
            None for a label that has a column of its own.
        allowed: The label names of a `labels.txt`, which are taken as they are.

    Returns:
        A tuple of sentences for the log on labels that contain a separator.

    Raises:
        ValueError: All parts of a label are labels of other rows.
    """
    listed = [n for n, where in places.items() if where and n not in set(allowed)]
    usual = [name for name in listed if len(_parts(name, _USUAL)) > 1]
    spaced = [
        name
        for name in listed
        if len(_parts(name, _SPACE)) > 1 and name not in set(usual)
    ]
    for name in usual:
        if all(part in places for part in _parts(name, _USUAL)):
            raise _several(name, _parts(name, _USUAL), places[name])
    # A name may well contain a space; but where no name does that is not a list of
    # other labels, the space separates.
    if spaced and all(p in places for name in spaced for p in _parts(name, _SPACE)):
        raise _several(spaced[0], _parts(spaced[0], _SPACE), places[spaced[0]])
    rare = [
        name
        for name in listed
        if len(_parts(name, _RARE)) > 1
        and all(p in places for p in _parts(name, _RARE))
    ]
    suspicious = [*usual, *spaced, *(n for n in rare if n not in {*usual, *spaced})]
    if not suspicious:
        return ()
    return (
        f"{len(suspicious)} labels contain what may be a separator, and are taken as "
        f"one label each: {shortened([repr(n) for n in suspicious])}. If they are "
        "several, separate them by ';'; if not, a labels.txt that lists them says so.",
    )


def parts_in(name, allowed):
    """Returns the parts of an unknown label if all are allowed labels, else ()."""
    for separator in (_USUAL, _SPACE, _RARE):
        parts = _parts(name, separator)
        if len(parts) > 1 and all(part in allowed for part in parts):
            return tuple(parts)
    return ()


def _parts(name, separator):
    return [part.strip() for part in separator.split(name) if part.strip()]


def _several(name, parts, where):
    return ValueError(
        f"A label in {where} seems to be several, because its parts are labels of "
        "other rows. Expected labels separated by ';', or a labels.txt that lists "
        f"this one. Received: {name!r}, with the parts {shortened(parts)}"
    )
