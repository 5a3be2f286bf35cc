"""Whoever uses the public names finds types at all that they call."""

import inspect
import tomllib

import pytest

import ram_tf
from tests.support.paths import ROOT

SPECIAL = {"__call__", "__len__", "__getitem__"}


def callables(kind):
    """Yields what a user calls of a class, inherited or not: names and functions."""
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        if isinstance(value, property):
            value = value.fget
        function = getattr(value, "__func__", value)
        is_ours = (getattr(function, "__module__", "") or "").startswith("ram_tf.")
        if name == "__init__" or (
            is_ours and (name in SPECIAL or not name.startswith("_"))
        ):
            yield name, function


def without_types(name, function):
    """Yields the arguments of a function that have no type, and "return"."""
    signature = inspect.signature(function)
    for argument in [*signature.parameters.values()]:
        has_type = argument.annotation is not inspect.Parameter.empty
        if argument.name not in ("self", "cls") and not has_type:
            yield argument.name
    if name != "__init__" and signature.return_annotation is inspect.Signature.empty:
        yield "return"


@pytest.mark.parametrize("public", ram_tf.__all__)
def test_all_that_a_public_name_offers_has_types(public):
    found = dict(callables(getattr(ram_tf, public)))
    assert len(found) > 1
    missing = {name: [*without_types(name, each)] for name, each in found.items()}
    assert not {name: bad for name, bad in missing.items() if bad}


def test_mypy_checks_the_modules_of_all_public_names():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    homes = {f"ram_tf/{home.replace('.', '/')}.py" for home in ram_tf._HOMES.values()}
    assert homes | {"ram_tf/__init__.py"} <= set(settings["files"])


def test_types_are_part_of_the_package():
    assert "ram_tf = py.typed" in (ROOT / "setup.cfg").read_text()
    assert (ROOT / "ram_tf" / "py.typed").is_file()
