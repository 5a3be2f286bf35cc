"""Repeats one of the paper's comparisons (section 5.3) on any dataset.

    ram-tf ablate --table 4 --seeds 0 1 2                   the digits
    ram-tf ablate --table 3 --dataset csv --data_dir MINE
    ram-tf ablate --table locations --model rarl --seeds 0 1 2
    ram-tf ablate --figure 5 --model_dir runs/mine a.jpg b.jpg

Tables: 3 object proposals and attentional regions; 4 and 5 constraints; 6 scales and
views; locations (ours): RDAR and RARL with learnt, random and fixed locations.
Trains what is not trained yet, as long as `fit` for each row and seed, and prints the
results next to the paper's, if any. The same command resumes after an interruption.
"""

import argparse
import pathlib

from ram_tf.cli import command, setting_flags
from ram_tf.runs.presets import PRESET_OF


def parse(argv):
    """Returns the parsed flags."""
    parser = command.parser(__doc__, prog="ram-tf ablate")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", choices=("3", "4", "5", "6", "locations"))
    what.add_argument("--figure", type=int, choices=(5,))
    parser.add_argument(
        "--output_dir", type=pathlib.Path, help="default: runs/ablation-NAME"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="default: --seed")
    parser.add_argument(
        "--scales", type=int, nargs=2, help="table 6; default: the image size, 1.25x"
    )
    parser.add_argument(
        "--svm",
        action=argparse.BooleanOptionalAction,
        help="scores of SVMs on the features; default: with preset paper",
    )
    parser.add_argument("--model_dir", help="figure 5: folder of a run or SavedModel")
    parser.add_argument("images", nargs="*", help="figure 5: image files or folders")
    parser.hide(setting_flags.add_arguments(parser))
    arguments = parser.parse_args(argv)
    if arguments.figure and not (arguments.model_dir and arguments.images):
        parser.error("--figure 5 needs --model_dir RUN IMAGE...")
    if arguments.table and (arguments.model_dir or arguments.images):
        parser.error("--model_dir and images are for --figure 5")
    if arguments.scales and arguments.table != "6":
        parser.error("--scales is for --table 6")
    return arguments


def main(argv):
    """Runs the command and returns its exit status."""
    arguments = parse(argv)
    # Imported here, since they load TensorFlow, which `--help` need not wait for.
    from ram_tf.evaluation.papers import ablation, ablation_tables
    from ram_tf.serving.image_search import find_images
    from ram_tf.serving.predictor import Predictor

    both = arguments.table == "locations"
    settings = setting_flags.from_arguments(arguments, both_models=both)
    folder = arguments.output_dir or pathlib.Path(f"runs/ablation-{settings.run_name}")
    if arguments.figure:
        path = folder / "figure5.png"
        predictor = Predictor.load(arguments.model_dir)
        ablation.draw_figure_5(predictor, find_images(arguments.images), path)
        print(path)
        return 0
    if settings.model.start_from:
        raise ValueError(
            "Tables compare models that begin alike. Expected the command without "
            f"--start_from. Received: --start_from {settings.model.start_from}"
        )
    of_paper = (arguments.preset or PRESET_OF[settings.data.dataset]) == "paper"
    number = int(arguments.table) if arguments.table.isdigit() else arguments.table
    svm = of_paper if arguments.svm is None else arguments.svm
    size, model = settings.image.image_size, settings.model.kind
    table = ablation_tables.of(number, size, arguments.scales, model)
    setting_flags.check_not_fixed(arguments, table.decides, f"table {number}")
    seeds = arguments.seeds or [settings.training.seed]
    compared = ablation.compare(table, settings, seeds, folder, svm)
    print(f"\n{ablation_tables.text(compared)}")
    return 0
