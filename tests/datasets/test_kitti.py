import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

from mmdrsl.datasets.kitti import KITTIRawDataset

DRIVES = ("2011_09_26_drive_0001_sync", "2011_09_26_drive_0005_sync")


@pytest.fixture
def raw(tmp_path):
    for drive in DRIVES:
        for camera in ("image_00", "image_02", "image_03"):
            folder = tmp_path / "2011_09_26" / drive / camera / "data"
            folder.mkdir(parents=True)
            for frame in range(7):
                cv2.imwrite(str(folder / f"{frame:010d}.png"), np.zeros((4, 6, 3), np.uint8))
    return str(tmp_path)


def frames(dataset):
    ids = [dataset.get_data_info(index)["sample_id"] for index in range(len(dataset))]
    return [(name.split("/")[1], name.split("/")[2], int(name.split("/")[-1])) for name in ids]


def test_every_third_frame_of_the_left_camera_of_each_drive(raw):
    expected = [(drive, "image_02", frame) for drive in DRIVES for frame in (0, 3, 6)]
    assert frames(KITTIRawDataset(data_root=raw, every=3)) == expected


def test_cameras_and_excluded_drives(raw):
    options = dict(every=7, cameras=["image_02", "image_03"], excluded_drives=[DRIVES[1]])
    found = frames(KITTIRawDataset(data_root=raw, **options))
    assert found == [(DRIVES[0], "image_02", 0), (DRIVES[0], "image_03", 0)]


def test_errors(raw):
    with pytest.raises(ValueError, match=r"no frame of the cameras \['image_09'\] among the 42"):
        KITTIRawDataset(data_root=raw, cameras=["image_09"])
    with pytest.raises(ValueError, match="every is 0"):
        KITTIRawDataset(data_root=raw, every=0)
    with pytest.raises(ValueError, match=r"has \['2011_09_26_drive_0005'\], expected names of"):
        KITTIRawDataset(data_root=raw, excluded_drives=["2011_09_26_drive_0005"])


def test_excluded_drives_that_are_not_there_are_named(raw, caplog):
    other = "2011_09_28_drive_0002_sync"
    # The newest is the current one.
    logger = MMLogger.get_instance("kitti", log_level="INFO")
    logger.addHandler(caplog.handler)
    found = frames(KITTIRawDataset(data_root=raw, every=7, excluded_drives=[DRIVES[1], other]))
    logger.removeHandler(caplog.handler)
    assert found == [(DRIVES[0], "image_02", 0)]
    assert f"1 of 2 excluded drives are not in {raw}/, such as {other}" in caplog.text
