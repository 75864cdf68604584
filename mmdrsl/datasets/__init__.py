"""Datasets, label spaces and transforms; importing this package registers them."""

from .camvid import CamVidDataset
from .carla import CARLADataset
from .cityscapes import CityscapesLabelIdsDataset, CityscapesTrainIdsDataset
from .gta5 import GTA5Dataset
from .kitti import KITTIDataset
from .label_spaces import LABEL_SPACES, LabelSpace, LabelTable
from .labelled import LabelledImageDataset
from .samplers import TwoDomainSampler
from .synthia import SYNTHIADataset
from .transforms import LoadImage, LoadLabels, LoadPseudoLabels
from .two_domain import DomainSample, TwoDomainDataset, WantedClass
from .unlabelled import UnlabelledDataset

__all__ = [
    "LABEL_SPACES",
    "CARLADataset",
    "CamVidDataset",
    "CityscapesLabelIdsDataset",
    "CityscapesTrainIdsDataset",
    "DomainSample",
    "GTA5Dataset",
    "KITTIDataset",
    "LabelSpace",
    "LabelTable",
    "LabelledImageDataset",
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabels",
    "SYNTHIADataset",
    "TwoDomainDataset",
    "TwoDomainSampler",
    "UnlabelledDataset",
    "WantedClass",
]
