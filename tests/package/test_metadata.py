"""Files about the project agree with the package and with what `make` runs."""

import configparser
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ram_tf
from tests.support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="needs the extra dev")


def read(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == ram_tf.__version__
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    assert citation["license"] == package["metadata"]["license"]


def test_the_citation_has_the_papers_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    titles = re.findall(r"\btitle = {([^}]+)}", readme)
    assert [each["title"] for each in read("CITATION.cff")["references"]] == titles


def test_the_changelog_begins_with_what_is_unreleased_and_this_version():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[:2] == ["Unreleased", ram_tf.__version__]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", each) for each in headings[1:])


def test_the_locked_versions_are_in_the_ranges_of_the_package():
    lock = (ROOT / "requirements.lock").read_text().replace("\\\n", "")
    locked = {}
    for line in re.findall(r"^\S+==.*$", lock, re.M):
        each = Requirement(line.partition(" --hash=sha256:")[0])
        assert "--hash=sha256:" in line
        locked.setdefault(canonicalize_name(each.name), []).append(each.specifier)
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    wanted = package["options"]["install_requires"]
    wanted += package["options.extras_require"]["dev"]
    lines = [line for line in wanted.split("\n") if line.strip(" #") == line.strip()]
    requirements = [Requirement(line) for line in lines if line.strip()]
    assert len(requirements) > 20
    for each in requirements:
        for pinned in locked[canonicalize_name(each.name)]:
            (version,) = (part.version for part in pinned)
            assert each.specifier.contains(version), each


def test_commits_are_checked_as_make_lint_and_the_tests_do():
    (local,) = read(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    commands = [line.replace("$(BIN)", ".venv/bin") for line in lint[1].split("\n\t")]
    assert entries[:-1] == [command.strip() for command in commands]
    assert (ROOT / entries[-1].split()[-1]).is_file()
