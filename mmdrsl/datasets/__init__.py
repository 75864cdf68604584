"""Datasets, label spaces and transforms; importing this package registers them."""

from .camvid import CamVidDataset
from .carla import CARLADataset
from .cityscapes import CityscapesLabelIdsDataset, CityscapesTrainIdsDataset
from .gta5 import GTA5Dataset, GTA5TrainIdsDataset
from .kitti import KITTIDataset, KITTIRawDataset, KITTITrainIdsDataset
from .label_spaces import LABEL_SPACES, LabelSpace, LabelTable
from .labeled import LabelledImageDataset
from .labeled_sets import LabeledSets
from .samplers import TwoDomainSampler
from .streets import StreetsDataset
from .synthia import SYNTHIADataset, SYNTHIASFDataset, SYNTHIATrainIdsDataset
from .transforms import LoadImage, LoadLabels, LoadPseudoLabels
from .two_domain import DomainSample, TwoDomainDataset, WantedClass
from .unlabeled import UnlabelledDataset
from .video import VideoDataset

__all__ = [
    "LABEL_SPACES",
    "CARLADataset",
    "CamVidDataset",
    "CityscapesLabelIdsDataset",
    "CityscapesTrainIdsDataset",
    "DomainSample",
    "GTA5Dataset",
    "GTA5TrainIdsDataset",
    "KITTIDataset",
    "KITTIRawDataset",
    "KITTITrainIdsDataset",
    "LabelSpace",
    "LabelTable",
    "LabeledSets",
    "LabelledImageDataset",
    "LoadImage",
    "LoadLabels",
    "LoadPseudoLabels",
    "SYNTHIADataset",
    "SYNTHIASFDataset",
    "SYNTHIATrainIdsDataset",
    "StreetsDataset",
    "TwoDomainDataset",
    "TwoDomainSampler",
    "UnlabelledDataset",
    "VideoDataset",
    "WantedClass",
]
