"""Datasets, label spaces and transforms; importing this package registers them."""

from .acdc import ACDCDataset, ACDCImagesDataset
from .camvid import CamVidDataset
from .carla import CARLADataset
from .cityscapes import CityscapesLabelIdsDataset, CityscapesTrainIdsDataset
from .gta5 import GTA5Dataset, GTA5TrainIdsDataset
from .kitti import KITTIDataset, KITTIRawDataset, KITTITrainIdsDataset
from .label_spaces import LABEL_SPACES, LabelSpace, LabelTable
from .labeled import LabelledImageDataset
from .labeled_sets import LabeledSets
from .mapillary import MapillaryVistasDataset
from .samplers import TwoDomainSampler
from .streets import StreetsDataset
from .synscapes import SynscapesDataset
from .synthia import SYNTHIADataset, SYNTHIASFDataset, SYNTHIATrainIdsDataset
from .transforms import LoadImage, LoadLabels, LoadPseudoLabels
from .two_domain import DomainSample, TwoDomainDataset, WantedClass
from .unlabeled import UnlabelledDataset
from .urbansyn import UrbanSynDataset
from .video import VideoDataset

__all__ = [
    "LABEL_SPACES",
    "ACDCDataset",
    "ACDCImagesDataset",
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
    "MapillaryVistasDataset",
    "SYNTHIADataset",
    "SYNTHIASFDataset",
    "SYNTHIATrainIdsDataset",
    "StreetsDataset",
    "SynscapesDataset",
    "TwoDomainDataset",
    "TwoDomainSampler",
    "UnlabelledDataset",
    "UrbanSynDataset",
    "VideoDataset",
    "WantedClass",
]
