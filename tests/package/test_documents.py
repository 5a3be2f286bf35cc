"""The README is short, and the links, files and commands of all documents exist."""

import re
import shlex
import sys

import pytest

from ram_tf.cli import setting_flags
from tests.support import scripts
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (
        *sorted(ROOT.glob("*.md")),
        *PAGES,
        *sorted(ROOT.glob("[a-z]*/README.md")),
    )
}
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.S | re.M)
NAMED_FILE = re.compile(
    r"`((?:benchmarks|deploy|docs|fuzz|ram_tf|scripts|tests)/[\w/.-]*\.\w+)`"
)
every_document = pytest.mark.parametrize("name", DOCUMENTS)


def prose(text):
    """A document without its blocks of code."""
    return FENCED.sub("", text)


def anchors(text):
    """The anchors of a document's headings, as GitHub and others make them."""
    for heading in re.findall(r"^#+ +(.*)$", prose(text), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(name, text):
    """The relative links of a document that lead to no file or to no heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text))):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path
        headings = (target.read_text("utf-8") if path else text) if anchor else ""
        if not target.exists() or (anchor and anchor not in anchors(headings)):
            yield link


def commands(text):
    """The calls of scripts in a document: names of scripts and lists of arguments."""
    inline = re.findall(r"`(python scripts/[^`]+)`", prose(text))
    lines = [" ".join(command.split()) for command in inline]
    for block in FENCED.findall(text):
        lines += block.replace("\\\n", " ").splitlines()
    for line in lines:
        if "scripts/" in line:
            yield from calls(line)


def calls(line):
    """The calls of scripts in a line of shell, which may be a pipe."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command = []
    for word in (*words, ";"):
        if not set(word) <= set("();<>|&"):
            command.append(word)
            continue
        for i, part in enumerate(command):
            found = re.fullmatch(r"scripts/(\w+)\.py", part)
            if found and "python" in command[i - 1]:
                # A lone capital or a variable stands for a value, dots for flags.
                rest = [w for w in command[i + 1 :] if w not in ("...", "…")]
                values = [re.sub(r"^([A-Z]|\$\{?\w+\}?)$", "1", w) for w in rest]
                yield found[1], values
                break
        command = []


def refusal(script, arguments):
    """What a script's parser says against arguments; empty if it accepts them."""
    door = scripts.load(script)
    module = sys.modules.get(door.main.__module__, door)
    try:
        parsed = module.parse(arguments)
        if script == "fit":
            setting_flags.from_arguments(parsed)
    except (SystemExit, ValueError) as error:
        if getattr(error, "code", 1) == 0:
            return ""  # --help
        return f"{script}.py {shlex.join(arguments)}: {error}"
    return ""


def test_the_readme_has_at_most_150_lines():
    assert len(README.splitlines()) <= 150


def test_the_readme_links_to_every_page():
    assert len(PAGES) > 10
    assert not [page.name for page in PAGES if f"(docs/{page.name})" not in README]


@every_document
def test_every_relative_link_leads_somewhere(name):
    assert not [*broken_links(name, DOCUMENTS[name])]


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"CHANGELOG.md"}))
def test_every_file_that_is_named_exists(name):
    named = NAMED_FILE.findall(prose(DOCUMENTS[name]))
    assert not [path for path in named if not (ROOT / path).is_file()]


@every_document
def test_every_command_is_accepted_by_its_script(name):
    found = [refusal(*command) for command in commands(DOCUMENTS[name])]
    assert not [error for error in found if error]


def test_commands_are_found_in_the_documents():
    assert len([*commands(README)]) > 5
    assert sum(len([*commands(text)]) for text in DOCUMENTS.values()) > 40


def test_pipes_variables_and_continued_lines_are_read():
    text = (
        "```\n"
        "find a -name '*.png' | python scripts/predict.py --model_dir m \\\n"
        '    --batch_size $SIZE - > out & A="b c" python scripts/fit.py ... '
        "--epochs N  # why\n"
        "```\n"
        "`python scripts/export.py\n--model_dir m`"
    )
    assert [*commands(text)] == [
        ("export", ["--model_dir", "m"]),
        ("predict", ["--model_dir", "m", "--batch_size", "1", "-"]),
        ("fit", ["--epochs", "1"]),
    ]


@pytest.mark.parametrize(
    "flags", ["--no_such_flag 1", "--epochs many", "--dataset csv --year 2014"]
)
def test_a_wrong_flag_would_be_found(flags):
    ((script, arguments),) = commands(f"```\npython scripts/fit.py {flags}\n```")
    assert flags in refusal(script, arguments)


@pytest.mark.parametrize("link", ["nowhere.md", "docs/results.md#nowhere", "#nowhere"])
def test_a_broken_link_would_be_found(link):
    text = f"# Here\n[a](docs/results.md#limits) [b](#here) [c]({link})"
    assert [*broken_links("README.md", text)] == [link]
