import ast
import graphlib
import pathlib

import pytest

import ram_tf
from tests.support.paths import ROOT

PACKAGE = pathlib.Path(ram_tf.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# The way of the data. A wing imports only from itself and from those before it.
WINGS = (
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


def place(path):
    """The dotted path of a module or of a package, below `ram_tf`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PLACES = {place(path) for path in MODULES}


def imports_of(path):
    """The modules of `ram_tf` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: relative import"
            # What is imported from a package may be a module of it.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "ram_tf":
                parent = module.rpartition(".")[0]
                yield module if module in PLACES else parent


def test_every_module_is_in_a_wing():
    assert len(MODULES) > 60
    found = {path.relative_to(PACKAGE).parts[0] for path in MODULES}
    assert found == {"__init__.py", *WINGS}


def test_every_folder_says_what_it_is():
    for folder in {path.parent for path in MODULES}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), (
            folder
        )


def test_imports_between_wings_point_backward():
    counted = 0
    for path in MODULES:
        wing = place(path).partition(".")[0]
        if not wing:
            continue
        allowed = {"", *WINGS[: WINGS.index(wing) + 1]}
        for imported in imports_of(path):
            counted += 1
            assert imported.partition(".")[0] in allowed, f"{place(path)}: {imported}"
    assert counted > 200


def test_no_imports_go_in_a_circle():
    graph = {place(path): set(imports_of(path)) - {""} for path in MODULES}
    graph = {name: found - {name} for name, found in graph.items()}
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) >= len(MODULES) - 1


def test_scripts_are_doors_of_under_80_lines():
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
    """What of a program's text would run what a file says."""
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


def test_nothing_that_is_read_is_run():
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
def test_each_way_to_run_what_is_read_would_be_seen(source):
    assert [*unsafe(source)]


def test_public_names_are_those_of_all():
    assert sorted(ram_tf.__all__) == sorted(ram_tf._HOMES)
    for name in ram_tf.__all__:
        assert getattr(ram_tf, name).__doc__
