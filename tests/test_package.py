import ast
import pathlib

import ram_tf

PACKAGE = pathlib.Path(ram_tf.__file__).parent
# The way of the data. A module imports only from those before it.
ORDER = (
    "__init__",
    "seal",
    "lock",
    "split",
    "boxes_json",
    "digits",
    "csv_folder",
    "voc",
    "coco",
    "tfds_folder",
    "datasets",
    "preprocessing",
    "backbones",
    "spatial_transformer",
    "region_lstm",
    "region_attention",
    "recurrent_attention",
    "reinforce",
    "reinforced_attention",
    "losses",
    "model",
    "views",
    "presets",
    "config",
    "run_splits",
    "metrics",
    "bootstrap",
    "protocols",
    "calibration",
    "visualization",
    "weights_file",
    "run",
    "cache",
    "proposals",
    "svm",
    "optimizer",
    "progress",
    "linear_probe",
    "training",
    "results",
    "references",
    "warmup",
    "export",
    "client",
    "prediction",
    "evaluation",
    "paper_tables",
    "ablation",
    "report",
    "cli",
)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "ram_tf":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, module = node.module.partition(".")
            if package == "ram_tf":
                yield module


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py"))


def test_imports_point_downward():
    for path in PACKAGE.glob("*.py"):
        if path.stem == "__init__":
            continue
        before = ORDER[: ORDER.index(path.stem)]
        assert set(imports_of(path)) <= set(before), path.name


def test_scripts_are_doors_of_under_80_lines():
    for path in (PACKAGE.parent / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 80, path.name


def test_nothing_is_read_by_pickle_or_eval():
    for path in PACKAGE.glob("*.py"):
        names = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not names & {"eval", "exec"}, path.name
        assert "import pickle" not in path.read_text()


def test_public_names_are_those_of_all():
    assert sorted(ram_tf.__all__) == sorted(ram_tf._HOMES)
    for name in ram_tf.__all__:
        assert getattr(ram_tf, name).__doc__
