"""Makes the pages of the site whose text lies elsewhere.

`mkdocs.yml` names this file as a hook: mkdocs calls the functions `on_...`. The front
page is the README, a notebook becomes a page, and the reference has a page for each
folder of the package with all its modules, so that no text has a twin.
"""

import json
import pathlib
import posixpath
import re

import ram_tf

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "ram_tf"
# Documents outside docs/ and notebooks, each with the name of its page.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "deploy/README.md": "deploy.md",
    "saved_models/README.md": "saved_models.md",
    "docs/first_hour.ipynb": "first_hour.md",
}
SOURCES = {page: source for source, page in ELSEWHERE.items()}
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_files(files, config):
    """Adds the pages to those of docs/."""
    from mkdocs.structure.files import File  # the rest needs no mkdocs

    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text("utf-8")
        if source.endswith(".ipynb"):
            text = page_of_notebook(text)
        files.append(File.generated(config, page, content=text))
    for page, text in reference():
        files.append(File.generated(config, f"reference/{page}", content=text))


def on_page_markdown(markdown, page, **_):
    """Turns links to files of the repository into links to pages of the site."""
    name = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(name, f"docs/{name}"))

    def moved(link):
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        return ELSEWHERE.get(path, path.removeprefix("docs/"))

    return LINK.sub(moved, markdown)


def page_of_notebook(text):
    """Returns the cells of a notebook as Markdown, without outputs."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(text)["cells"]
    ]
    parts = [
        source if kind == "markdown" else f"```python\n{source}\n```"
        for kind, source in cells
    ]
    return "\n\n".join(parts) + "\n"


def reference():
    """Yields the pages of the reference, names and Markdown."""
    names = "\n\n".join(f"::: ram_tf.{name}" for name in sorted(ram_tf.__all__))
    yield "index.md", f"# Public names\n\nImported from `ram_tf`.\n\n{names}\n"
    for folder in sorted(PACKAGE.glob("*/__init__.py")):
        modules = sorted(folder.parent.rglob("*.py"), key=place)
        blocks = [f"::: {dotted(path)}" for path in modules]
        name = folder.parent.name
        yield f"{name}.md", f"# {name}\n\n" + "\n\n".join(blocks) + "\n"


def place(path):
    """Sorts the modules of a folder before those of the folders in it."""
    return path.parent, path.name != "__init__.py", path.name


def dotted(path):
    """Returns the name by which a module is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")
