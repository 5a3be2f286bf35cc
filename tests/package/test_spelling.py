"""The prose of code and documents is spelt right, and spelt the British way."""

import ast
import io
import pathlib
import re
import subprocess
import sys
import tokenize

import codespell_lib
import pytest

from tests.support.paths import ROOT

DICTIONARIES = pathlib.Path(codespell_lib.__file__).parent / "data"
# Words that British engineers write so, too, and those of titles of papers.
ALIKE = set(
    "analog biased disk disks donut draft drafts localization maximize maximizing "
    "meter program programs writable".split()
)
FOLDERS = ("ram_tf", "scripts", "tests", "benchmarks", "fuzz", "deploy", "docs")


def american():
    """American spellings, each with the British one."""
    for line in (DICTIONARIES / "dictionary_en-GB_to_en-US.txt").read_text().split():
        british, _, found = line.partition("->")
        if found and "," not in found and found not in ALIKE:
            yield f"{found.rstrip(',')}->{british}"


def prose_of_code(text):
    """The comments and docstrings of a module, and its other texts of several words."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value if " " in node.value.strip() else ""


def prose(path):
    """What a person reads of a file, without code."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        text = "\n".join(prose_of_code(text))
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    # Code, addresses, flags and names such as tf.image.
    return re.sub(r"`[^`]*`|https?://\S+|\S*[_.(/=-]{1,2}\w+\S*", "", text)


FILES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", *(f"{folder}/**/*.py" for folder in FOLDERS))
    for path in ROOT.glob(pattern)
    if path.name != "test_spelling.py"
)


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """The lines that codespell prints, by file."""
    folder = tmp_path_factory.mktemp("prose")
    (folder / "american.txt").write_text("\n".join([*american()]) + "\n")
    for number, path in enumerate(FILES):
        (folder / f"{number}.text").write_text(prose(path), errors="replace")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "codespell_lib",
            "-D",
            "american.txt",
            "-D",
            "-",
            *folder.glob("*.text"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in done.stdout.splitlines():
        place, _, complaint = line.partition(": ")
        number = int(pathlib.Path(place.rpartition(":")[0]).stem)
        found.setdefault(FILES[number].relative_to(ROOT), []).append(complaint)
    return found


def test_no_word_is_misspelt_or_american(complaints):
    assert len(FILES) > 200
    assert not complaints


def test_an_american_word_and_a_misspelt_one_would_be_found(tmp_path):
    assert "color->colour" in [*american()]
    module = tmp_path / "module.py"
    module.write_text('"""Teh color."""  # teh center of `color`\n')
    assert prose(module).split() == ["#", "teh", "center", "of", "Teh", "color."]
