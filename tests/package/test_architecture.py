"""The page on the architecture names modules and functions that exist."""

import ast
import re

from ram_tf.runs import settings
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
NEW = {"data/readers/label_folders.py", "serving/coreml_model.py"}  # of the examples


def definitions(path):
    """The names of a module and, with a dot, of its classes' methods."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            yield from (getattr(target, "id", "") for target in node.targets)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            if isinstance(node, ast.ClassDef):
                for each in node.body:
                    if isinstance(each, ast.FunctionDef):
                        yield f"{node.name}.{each.name}"


def home(path):
    return (
        ROOT / path if path.startswith(("scripts", "tests")) else ROOT / "ram_tf" / path
    )


def test_every_module_that_it_names_exists():
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 25
    missing = {path for path in named - NEW if not home(path).is_file()}
    assert not missing


def test_every_function_that_it_names_is_in_its_module():
    named = re.findall(r"`([\w/]+\.py)`:? `([\w.]+)`", PAGE)
    assert len(named) > 20
    for path, name in named:
        assert name in [*definitions(home(path))], (path, name)


def test_it_counts_the_groups_of_settings():
    groups = [name for name in vars(settings) if name.endswith("Settings")]
    assert len(groups) == 7
    assert "in seven groups" in PAGE
