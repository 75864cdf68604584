import pickle

import cv2
import numpy as np
import pytest

from mmdrsl.datasets.unlabeled import UnlabelledDataset

PIPELINE = [{"type": "LoadImage"}, {"type": "LoadPseudoLabels"}, {"type": "PackSegInputs"}]


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((4, 6, 3), np.uint8))


def ids_of(dataset):
    return [dataset.get_data_info(index)["sample_id"] for index in range(len(dataset))]


def test_folder_is_enough(tmp_path):
    for name in ("b.PNG", "a/x.jpg", "a/y.jpeg", "c.webp", "d.bmp"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = UnlabelledDataset(data_root=str(tmp_path), label_space="street10")
    assert ids_of(dataset) == ["a/x", "a/y", "b", "c", "d"]
    info = dataset.get_data_info(0)
    assert info["img_path"] == str(tmp_path / "a/x.jpg")
    assert info["pseudo_label_path"] is None
    assert info["num_classes"] == 10
    assert "seg_map_path" not in info
    assert dataset.metainfo["classes"][6] == "sign_or_light"


def test_suffix_and_list_file(tmp_path):
    for name in ("images/a.png", "images/b.jpg", "images/c.jpg"):
        write_image(tmp_path / name)
    prefix = {"img_path": "images"}
    by_suffix = UnlabelledDataset(data_root=str(tmp_path), data_prefix=prefix, img_suffix=".jpg")
    assert ids_of(by_suffix) == ["b", "c"]
    (tmp_path / "train.txt").write_text("c\na.png\n")
    listed = UnlabelledDataset(data_root=str(tmp_path), data_prefix=prefix, ann_file="train.txt")
    assert ids_of(listed) == ["c", "a"]


@pytest.mark.parametrize("serialize_data", [True, False])
def test_pseudo_labels_come_and_go(tmp_path, serialize_data):
    images, rounds = tmp_path / "images", tmp_path / "round_1"
    write_image(images / "city/a.jpg")
    (rounds / "labels/city").mkdir(parents=True)
    label = np.arange(24, dtype=np.uint8).reshape(4, 6) % 19
    cv2.imwrite(str(rounds / "labels/city/a.png"), label)
    dataset = UnlabelledDataset(
        data_root=str(images), pipeline=PIPELINE, serialize_data=serialize_data
    )

    def loaded(data):
        return data[0]["data_samples"].gt_sem_seg.data[0].numpy()

    assert (loaded(dataset) == 255).all()
    dataset.set_pseudo_labels(str(rounds))
    expected_path = str(rounds / "labels/city/a.png")
    assert dataset.get_data_info(0)["pseudo_label_path"] == expected_path
    np.testing.assert_array_equal(loaded(dataset), label)
    np.testing.assert_array_equal(loaded(pickle.loads(pickle.dumps(dataset))), label)
    dataset.set_pseudo_labels(None)
    assert (loaded(dataset) == 255).all()


def test_pseudo_label_root_must_exist(tmp_path):
    write_image(tmp_path / "a.png")
    dataset = UnlabelledDataset(data_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"round_9/labels .*pseudo labels"):
        dataset.set_pseudo_labels(str(tmp_path / "round_9"))


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere .*data_root"):
        UnlabelledDataset(data_root=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="an unlabeled dataset reads no labels"):
        UnlabelledDataset(
            data_root=str(tmp_path), data_prefix={"img_path": "", "seg_map_path": "labels"}
        )
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="more than one image, for instance a:"):
        UnlabelledDataset(data_root=str(tmp_path))
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"cannot read the header of .*a\.jpg"):
        UnlabelledDataset(data_root=str(tmp_path), img_suffix=".jpg")
