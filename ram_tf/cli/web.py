"""Serves a web page that shows the labels of an image and the region of each label.

    ram-tf web
    ram-tf web --saved_models saved_models --port 8000 --open_browser

Needs `pip install -e ".[demo]"`. The page offers all models in
saved_models/NAME/VERSION and uses no other server. Ctrl-C ends the program.
"""

from ram_tf.cli import command


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf web")
    parser.add_argument(
        "--saved_models",
        default="saved_models",
        help="folder of the models; %(default)s",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 opens the page to the whole network "
        "without a password; %(default)s",
    )
    parser.add_argument("--port", type=int, default=7860, help="port; %(default)s")
    parser.add_argument(
        "--open_browser", action="store_true", help="open the page in a browser, too"
    )
    return parser.parse_args(argv)


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.evaluation.web_page import page

    page.serve(
        arguments.saved_models, arguments.host, arguments.port, arguments.open_browser
    )
    return 0
