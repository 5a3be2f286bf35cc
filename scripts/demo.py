"""Serves a web page: drop a picture, see its labels, and which region spoke for each.

    python scripts/demo.py
    python scripts/demo.py --saved_models saved_models --port 8000 --open_browser

Needs `pip install -e ".[demo]"`. The page chooses among all saved_models/NAME/VERSION
and asks nothing of any other server; Ctrl-C ends it.
"""

import argparse

from ram_tf import cli, web_page


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--saved_models",
        default="saved_models",
        help="where the models are; %(default)s",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 shows the page, without a password, to "
        "the whole network; %(default)s",
    )
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    parser.add_argument(
        "--open_browser", action="store_true", help="open the page in a browser, too"
    )
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    web_page.serve(
        arguments.saved_models, arguments.host, arguments.port, arguments.open_browser
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
