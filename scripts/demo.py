"""Serves a web page: drop a picture, see its labels, and which region spoke for each.

    python scripts/demo.py
    python scripts/demo.py --saved_models saved_models --port 8000 --open_browser

Needs `pip install -e ".[demo]"`. The page chooses among all saved_models/NAME/VERSION
and asks nothing of any other server; Ctrl-C ends it.
"""

from ram_tf.cli import command
from ram_tf.evaluation.web_page import page


def parse(argv):
    parser = command.parser(__doc__)
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
    page.serve(
        arguments.saved_models, arguments.host, arguments.port, arguments.open_browser
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
