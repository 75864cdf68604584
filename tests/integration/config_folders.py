"""The configs as the folders have them: a new model, pair or method is tested without being named here."""

import ast
import functools

from run_tools import ROOT

from mmdrsl.engine.launch import read_config

CONFIGS = ROOT / "configs"
BASES = CONFIGS / "_base_"
EVERY_CONFIG = sorted(CONFIGS.rglob("*.py"))
TRANSLATORS = sorted((CONFIGS / "translation").glob("*.py"))
# Configs of adaptations: one model, one pair, one method.
LEAVES = [
    path
    for path in sorted(CONFIGS.glob("*/*.py"))
    if path.parent != BASES and path not in TRANSLATORS
]


def name_of(path):
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


@functools.cache
def load(path):
    """The config of a file; not to be changed."""
    return read_config(path)


@functools.cache
def bases_of(path):
    """The files that a config names as its bases."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "_base_":
            found = ast.literal_eval(statement.value)
            names = [found] if isinstance(found, str) else found
            return [(path.parent / name).resolve() for name in names]
    return []


def depth_of(segmentor):
    """Layers of a backbone, about, as far as its config tells; a block of a transformer has four."""
    backbone = segmentor.backbone
    return backbone.get("depth") or 4 * sum(backbone.get("num_layers", [12]))


MODELS_TO_ADAPT = {
    path.stem: load(path).model.segmentor
    for path in sorted((BASES / "models").glob("*.py"))
    if "backbone" in load(path).model.segmentor
}
METHODS = [path.stem for path in sorted((BASES / "methods").glob("*.py")) if "method" in load(path)]


def representatives():
    """A few leaves in which every model, pair and method occurs, with shallow networks where there is a choice."""
    left = {base for path in LEAVES for base in bases_of(path)}
    chosen = []
    while left:
        chosen.append(
            max(
                LEAVES,
                key=lambda path: (
                    len(left & set(bases_of(path))),
                    -depth_of(load(path).model.segmentor),
                ),
            )
        )
        left -= set(bases_of(chosen[-1]))
    return sorted(chosen)
