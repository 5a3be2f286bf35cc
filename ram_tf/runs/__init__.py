"""The settings of a training run (`config`) and the folder of its files (`run`)."""
