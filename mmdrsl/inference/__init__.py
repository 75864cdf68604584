"""Predictions of images and videos: what is predicted, by which network, and what is written."""

from mmdrsl.inference.image_loading import ImageLoader, LoadedImage
from mmdrsl.inference.inputs import Input, find_inputs
from mmdrsl.inference.network import Network, load_network
from mmdrsl.inference.outputs import OutputFolder
from mmdrsl.inference.prediction_run import PredictionRun, settings_of
from mmdrsl.inference.predictor import Prediction, Predictor
from mmdrsl.inference.shares import Shares

__all__ = [
    "ImageLoader",
    "Input",
    "LoadedImage",
    "Network",
    "OutputFolder",
    "Prediction",
    "PredictionRun",
    "Predictor",
    "Shares",
    "find_inputs",
    "load_network",
    "settings_of",
]
