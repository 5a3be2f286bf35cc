"""The labels of the datasets that the paper was evaluated on."""

from ram_tf.data.voc_reader import voc

COCO = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,"
    "fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,"
    "bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,"
    "bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,"
    "carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,"
    "tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush".split(",")
)
_LABELS = {"voc2007": voc.LABEL_NAMES, "voc2012": voc.LABEL_NAMES, "coco": COCO}


def are_papers(dataset, label_names):
    """Whether these are the labels that a dataset has in the paper, in any order.

    Args:
        dataset: The name of the dataset, of `datasets.NAMES`.
        label_names: The names of labels.
    """
    return set(label_names) == set(_LABELS.get(dataset, ()))
