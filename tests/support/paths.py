"""Where tests find things: the checkout, kept files, and what may lie beside it."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
FILES = ROOT / "tests" / "files"
SHARED = ROOT.parent / "shared"  # real photographs; tests skip where it is missing
