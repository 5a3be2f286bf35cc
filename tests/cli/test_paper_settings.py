"""`fit --dataset voc2007` and `--dataset coco` train with the paper's numbers."""

import argparse

import numpy as np
import pytest

from ram_tf.cli import setting_flags
from ram_tf.models import losses

# Wang et al., ICCV 2017. Each value stands beside the place that gives it.
PAPER = {
    # Section 3.1: the map of VGG-16's last convolution, before pool5.
    "backbone": "vgg16",
    # Section 5.1: pretrained on ImageNet, fine-tuned on the labels, then trained
    # jointly; corresponding layers are initialised by it, all others by Xavier.
    "weights": "imagenet",
    "frozen": 0.0,
    "pooling": "flatten",  # VGG-16's own pooling and first hidden layer, fc6
    "pooled_units": 4096,
    "head_start": "feature",
    "probe_cost": 0.0,
    # Section 5.1: N = 512, crops of N - 64, flipped at random.
    "image_size": 512,
    "crop_margin": 64,
    "flip": True,
    "zooms": "1",
    "colour_jitter": 0.0,
    # Section 5.1: Adam, batches of 16, 1e-5, a tenth of it after 30 of 45 epochs.
    "batch_size": 16,
    "pooled_learning_rate": 1e-5,
    "learning_rate": 1e-5,
    "backbone_rate": 1.0,
    "localization_rate": 1.0,
    "schedule": "step",
    "pooled_epochs": 45,
    "epochs": 45,
    "ema": 0.0,
    "clip_norm": 0.0,
    # Section 5.1: the lowest validation loss.
    "select_by": "loss",
    "patience": 0,
    # Section 4.2: K = 5.
    "model": "rdar",
    "regions": 5,
    # Eq. 2: the region is as large as the map at 448 pixels, and fits fc6.
    "region_size": 14,
    "region_pooling": "flatten",
    "layout_channels": 0,
    # Eq. 5: one linear layer for all regions, from the whole map.
    "localization": "linear",
    "starts": "whole",
    # Eq. 7 and 8.
    "loss": "euclidean",
    # Eq. 11 to 14.
    "alpha": 0.5,
    "beta": 0.1,
    "lambda_anchor": 0.01,
    "lambda_positive": 0.1,
    "gamma": 0.1,
    "constraints": "ASP",
    # Section 5.1 says nothing of them; VGG-16's own dropout, and no calibration.
    "dropout": 0.5,
    "calibrate": False,
    "precision": "float32",
}


def resolved(*arguments):
    parser = argparse.ArgumentParser()
    setting_flags.add_arguments(parser)
    return setting_flags.from_arguments(parser.parse_args(arguments))


@pytest.mark.parametrize("dataset", ["voc2007", "coco"])
def test_a_run_without_other_flags_has_the_papers_settings(dataset):
    settings = resolved("--dataset", dataset)
    assert {name: settings[name] for name in PAPER} == PAPER


def test_the_first_five_regions_have_the_papers_anchors():
    expected = [[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]]  # section 4.2
    np.testing.assert_array_equal(losses.anchors(5), expected)
