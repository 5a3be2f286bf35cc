import ast
import pathlib

import pytest

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
    "exif",
    "header",
    "decoding",
    "colour_jitter",
    "preprocessing",
    "devices",
    "backbones",
    "spatial_transformer",
    "region_lstm",
    "evidence",
    "content_localization",
    "region_attention",
    "recurrent_attention",
    "region_scales",
    "reinforce",
    "reinforced_attention",
    "losses",
    "replicated_model",
    "model",
    "views",
    "ranges",
    "config",
    "config_json",
    "presets",
    "flags",
    "run_splits",
    "metrics",
    "region_metrics",
    "label_pairs",
    "reliability",
    "bootstrap",
    "protocols",
    "calibration",
    "visualization",
    "weights_file",
    "seen_images",
    "build",
    "run",
    "cache",
    "proposals",
    "svm",
    "svm_fit",
    "joint_view",
    "optimizer",
    "progress",
    "linear_probe",
    "training",
    "results",
    "references",
    "warmup",
    "export",
    "fixed_size",
    "onnx_model",
    "litert_model",
    "answers",
    "rest_client",
    "grpc_client",
    "client",
    "predictor",
    "prediction",
    "samples",
    "look",
    "web_page",
    "records",
    "batch",
    "beam_pipeline",
    "evaluation",
    "evaluation_flags",
    "seeds",
    "paper_tables",
    "ablation",
    "shades",
    "albums",
    "charts",
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
    top = PACKAGE.parent
    for path in [*top.glob("ram_tf/*.py"), *top.glob("scripts/*.py")]:
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
