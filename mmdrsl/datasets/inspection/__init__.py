"""The doctor: what a config's data hold, and what is wrong with them."""

from .browse import save_pictures
from .config_domains import plain_datasets, read_config
from .domain_report import DomainReport, inspect_config
from .page import render_page
from .picture import save_picture

__all__ = [
    "DomainReport",
    "inspect_config",
    "plain_datasets",
    "read_config",
    "render_page",
    "save_picture",
    "save_pictures",
]
