"""Folders, imports and public names of the package keep to their rules."""

import ast
import graphlib
import pathlib

import pytest

import ram_tf
from tests.support.paths import ROOT

PACKAGE = pathlib.Path(ram_tf.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# In the order of the data. A folder imports only from itself and from those before it.
FOLDERS = (
    "storage",
    "data",
    "models",
    "metrics",
    "runs",
    "training",
    "serving",
    "evaluation",
    "cli",
)


def dotted(path):
    """Returns the dotted path of a module or package, relative to `ram_tf`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {dotted(path) for path in MODULES}


def imports_of(path):
    """Yields the modules of `ram_tf` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: relative import"
            # A name that is imported from a package may be a module.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "ram_tf":
                parent = module.rpartition(".")[0]
                yield module if module in NAMES else parent


def test_every_module_is_in_a_known_folder():
    assert len(MODULES) > 60
    found = {path.relative_to(PACKAGE).parts[0] for path in MODULES}
    assert found == {"__init__.py", "__main__.py", *FOLDERS}


def test_every_folder_has_a_docstring():
    for folder in {path.parent for path in MODULES}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), (
            folder
        )


def test_imports_between_folders_point_backward():
    counted = 0
    for path in MODULES:
        top = dotted(path).partition(".")[0]
        if top in ("", "__main__"):
            continue
        allowed = {"", *FOLDERS[: FOLDERS.index(top) + 1]}
        for imported in imports_of(path):
            counted += 1
            assert imported.partition(".")[0] in allowed, f"{dotted(path)}: {imported}"
    assert counted > 200


def test_imports_have_no_cycles():
    graph = {dotted(path): set(imports_of(path)) - {""} for path in MODULES}
    graph = {name: found - {name} for name, found in graph.items()}
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) >= len(MODULES) - 1


def test_scripts_have_fewer_than_80_lines():
    for path in (ROOT / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 80, path.name


UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "yaml"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {
    "joblib.load",
    "keras.models.load_model",
    "keras.saving.load_model",
    "keras.config.enable_unsafe_deserialization",
    "tf.keras.models.load_model",
}


def unsafe(source):
    """Yields the names in source code that could run code from a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            yield from names & UNSAFE_MODULES
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").partition(".")[0]} & UNSAFE_MODULES
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            yield from {called} & (UNSAFE_BUILTINS | UNSAFE_CALLS)
            if called == "np.load" and keywords.get("allow_pickle") != "False":
                yield "np.load"
            if keywords.get("safe_mode") == "False":
                yield "safe_mode"


def test_no_code_from_files_is_run():
    scripts = [*(ROOT / "scripts").glob("*.py")]
    assert len(scripts) > 5
    for path in [*MODULES, *scripts]:
        assert not [*unsafe(path.read_text())], path.name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "joblib.load(path)",
        "from_file(path, safe_mode=False)",
        "keras.models.load_model(path)",
        "keras.config.enable_unsafe_deserialization()",
    ],
)
def test_each_way_to_run_code_from_files_is_detected(source):
    assert [*unsafe(source)]


def test_public_names_are_in_all_and_documented():
    assert sorted(ram_tf.__all__) == sorted(ram_tf._HOMES)
    for name in ram_tf.__all__:
        assert getattr(ram_tf, name).__doc__
