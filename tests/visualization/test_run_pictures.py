import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_adaptor import CLASSES, PREPROCESSOR, SIZE, plain_config

from mmdrsl.visualization.run_pictures import looking, validation_rows

PALETTE = [(index, 0, 0) for index in range(CLASSES)]


def packed(path):
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, SIZE, SIZE, dtype=torch.long)),
        metainfo=dict(img_path=path, ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE)),
    )
    return dict(
        inputs=torch.zeros(3, SIZE, SIZE, dtype=torch.uint8),
        data_samples=sample,
    )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/one/a.png", "/data/two/b.png"], ["a", "b"]),
        (["/data/one/a.png", "/data/two/a.png"], ["one/a", "two/a"]),
    ],
)
def test_rows_of_validation_have_names_of_their_own(paths, names):
    """Rows are stored by name, and images of two drives may have one."""
    model = MODELS.build(
        dict(
            type="UDASegmentor",
            data_preprocessor=PREPROCESSOR,
            segmentor=plain_config(),
            terms=dict(source=dict(type="SegmentationTerm", domain="source")),
        )
    )
    with looking(model):
        rows = validation_rows([packed(path) for path in paths], model, palette=PALETTE)
    assert [name for name, _ in rows] == names
    assert [cell.title for cell in rows[0][1]] == ["validation image", "label", "prediction"]
