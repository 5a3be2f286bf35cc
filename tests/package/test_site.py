"""The site of the documentation has all pages, and its links lead to them.

`make docs` builds it and ends at any other broken link, anchor or docstring.
"""

import importlib.util
import json
import types

import pytest

from tests.support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="needs the extra dev")


@pytest.fixture(scope="module")
def site_pages():
    path = ROOT / "docs" / "site_pages.py"
    spec = importlib.util.spec_from_file_location("site_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages_of(nav):
    """Yields the pages of a navigation, which is nested."""
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_the_navigation_has_every_page_once(site_pages):
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = [
        *(path.name for path in (ROOT / "docs").glob("*.md")),
        *(f"{path.stem}.md" for path in (ROOT / "docs").glob("*.ipynb")),
        *(page for name, page in site_pages.ELSEWHERE.items() if name[-3:] == ".md"),
        *(f"reference/{page}" for page, _ in site_pages.reference()),
    ]
    assert sorted(pages_of(nav)) == sorted(pages)


def test_the_reference_has_every_module(site_pages):
    text = "\n".join(text for _, text in site_pages.reference()) + "\n"
    for path in (ROOT / "ram_tf").glob("*/**/*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert f"::: {name.removesuffix('.__init__')}\n" in text


@pytest.mark.parametrize(
    ("page", "link", "moved"),
    [
        ("index.md", "docs/results.md#limits", "results.md#limits"),
        ("index.md", "docs/regions.png", "regions.png"),
        ("index.md", "CONTRIBUTING.md", "contributing.md"),
        ("index.md", "docs/first_hour.ipynb", "first_hour.md"),
        ("training.md", "../deploy/README.md#a", "deploy.md#a"),
        ("training.md", "evaluation.md", "evaluation.md"),
        ("deploy.md", "../docs/serving.md", "serving.md"),
        ("training.md", "#labels", "#labels"),
        ("training.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_a_link_of_the_repository_leads_to_a_page(site_pages, page, link, moved):
    file = types.SimpleNamespace(file=types.SimpleNamespace(src_uri=page))
    found = site_pages.on_page_markdown(f"see [it]({link}).", page=file)
    assert found == f"see [it]({moved})."


def test_notebooks_are_stored_without_outputs(site_pages):
    for path in (ROOT / "docs").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert len(code) > 5
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
        page = site_pages.page_of_notebook(path.read_text("utf-8"))
        assert page.count("```python\n") == len(code)
