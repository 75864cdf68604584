"""A test set whose labels are class indices, made of one whose labels hold raw ids."""

import shutil
from pathlib import Path

import cv2
from mmseg.registry import DATASETS

from mmdrsl.datasets.transforms.loading import read_train_ids


def write_class_indices(dataset, root):
    """Copy the images of a dataset's config, write labels of class indices; return the config of the copy."""
    built = DATASETS.build(dict(dataset, pipeline=[]))
    for folder in ("images", "labels"):
        Path(root, folder).mkdir(parents=True)
    for index in range(len(built)):
        info = built.get_data_info(index)
        name = Path(info["img_path"]).name
        shutil.copy(info["img_path"], Path(root, "images", name))
        label = read_train_ids(info["seg_map_path"], info["label_lookup"], info["label_channel"])
        assert cv2.imwrite(str(Path(root, "labels", name)), label)
    return dict(
        type="LabelledImageDataset",
        data_root=str(root),
        label_space=dataset["label_space"],
        test_mode=True,
        pipeline=dataset["pipeline"],
    )
