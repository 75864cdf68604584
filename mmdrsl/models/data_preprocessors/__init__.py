"""Data preprocessors for two-domain batches."""

from .uda_data_preprocessor import UDADataPreprocessor

__all__ = ["UDADataPreprocessor"]
