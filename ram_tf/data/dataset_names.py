"""The names of the datasets, apart from their readers, so that they load at once."""

NAMES = ("digits", "voc2007", "voc2012", "voc", "coco", "csv", "shards")
# The file in a folder of shards that says so.
SHARDS_FILE = "shards.json"
# How images are divided where a dataset does not say: "random" is for runs that began
# before there was "stratified", and go on with the images that they have.
DIVISIONS = ("stratified", "random")
