"""The folders that tests use: the checkout, its test files, and shared photographs."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
FILES = ROOT / "tests" / "files"
SHARED = ROOT.parent / "shared"  # real photographs; tests skip where it is missing
