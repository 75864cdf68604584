"""From the options of a benchmark to its runs, each a training with an evaluation, and the warm-ups they share."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmdrsl
from mmdrsl.atomic_files import file_hash
from mmdrsl.benchmark.config_options import check_kept, merge_options
from mmdrsl.benchmark.evaluation_set import (
    EvaluationSet,
    use_evaluation_set,
    use_target_statistics,
)
from mmdrsl.benchmark.methods import (
    check_pair,
    is_translated,
    own_code,
    read_methods,
    title_of,
    trains_on_target_labels,
)
from mmdrsl.benchmark.networks import use_network, use_weights, weights_of
from mmdrsl.benchmark.pairs import Pair, training_data_identity
from mmdrsl.benchmark.protocol import check_equal, protocol_of, use_protocol
from mmdrsl.benchmark.training_run import ROOT, TrainingRun, fingerprint
from mmdrsl.benchmark.translations import (
    check_trained_translator,
    manifest_hash,
    translator_name,
    use_translations,
)
from mmdrsl.benchmark.tricks import check_source_statistics, prediction_weight, use_tricks
from mmdrsl.benchmark.warmup import RUN_KEYS, joined_warmup, warmup_config, without_observers

CONFIGS = ROOT / "configs"
# In a run's folder while it trains: its part of the warm-up's checkpoint.
WARMUP_CHECKPOINT = "warmup.pth"
# Entries that no hash of a training holds.
_OF_EVALUATION = (
    *("val_", "test_", "target_dataset", "labeling_pipeline"),
    "model.segmentor.test_cfg",
)
_INITIAL_WEIGHTS = "model.segmentor.backbone.init_cfg"
_NOT_VALIDATED = tuple(
    f"{part}_{key}" for part in ("val", "test") for key in ("cfg", "dataloader", "evaluator")
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a benchmark is asked for.

    Attributes:
        data: Folder of the pair's data; ``weights/`` in it has those of backbones.
        out: Folder of runs and results.
        methods: Config file by method, in the order of the tables.
        networks: Names of networks.
        seeds: Training seeds.
        evaluation: Labeled images to evaluate on.
        tricks: Keys of `TRICKS`, given to every method.
        weights: Backbone file by network, or ``scratch``.
        translations: Folder of the translated source.
        options: Config entries to override in every run that has them.
        configs: Folder of the configs.
        pair: The domains.
        follow_rounds: Evaluate at the end of every round, too, see `use_protocol`.
    """

    data: Path
    out: Path
    methods: Mapping[str, Path]
    networks: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluation: EvaluationSet
    tricks: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    translations: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    configs: Path = CONFIGS
    pair: Pair
    follow_rounds: bool = False


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A training with the hash of all that its weights depend on.

    Attributes:
        training: The training.
        hash: See `fingerprint`.
        recipe: The same of all but the seed.
        warmup: The warm-up that it continues, in which heads of other methods may learn, too; None where it has its
            own.
    """

    training: TrainingRun
    hash: str
    recipe: str
    warmup: PlannedRun | None = None


@dataclass(frozen=True, kw_only=True)
class BenchmarkRun(PlannedRun):
    """A run of the comparison: a training with an evaluation.

    Attributes:
        method: Name of the method.
        title: How tables call it.
        network: Name of the network.
        seed: Training seed.
        tricks: Keys of `TRICKS`.
        translations: What `translator_name` says of the source images; None where they are the originals.
        protocol: What `protocol_of` says.
        data_hash: Hash of what lists the training data.
        shared: What all methods of a table must have alike: ``version``, and hashes of the ``options`` of the command
            line and of the ``weights`` file.
        evaluation: Config of the evaluation.
        missed_options: Options that have no place in the method's config.
        replaced_network: The network of the method's own config, where it is neither the pair's nor this run's.
    """

    method: str
    title: str
    network: str
    seed: int
    tricks: tuple[str, ...]
    translations: str | None
    protocol: dict[str, Any]
    data_hash: str
    shared: dict[str, str]
    evaluation: Config
    missed_options: tuple[str, ...] = ()
    replaced_network: str | None = None


def plan_runs(settings: Settings) -> list[BenchmarkRun]:
    """Lay out all runs of a benchmark, network by network and seed by seed.

    The environment variable of the pair must name the data, since the configs read it.

    Args:
        settings: What is asked for.

    Returns:
        The runs.

    Raises:
        ValueError: A name is unknown, an option fits no config, or the methods differ in what must be equal.
        FileNotFoundError: A config, the data or weights are missing.
    """
    if settings.evaluation.target_weight is not None and "target_bn" in settings.tricks:
        raise ValueError(
            "the trick target_bn sets the statistics of prediction: leave --target-bn out."
        )
    judged = [name for name in settings.options if name.startswith(_OF_EVALUATION)]
    if judged:
        raise ValueError(
            f"--cfg-options {judged} would change how runs are evaluated, which is equal for all: choose the images "
            "with --eval-data and --eval-split, the statistics with --target-bn."
        )
    initial = [name for name in settings.options if name.startswith(_INITIAL_WEIGHTS)]
    if initial:
        raise ValueError(
            f"--cfg-options {initial} would have no effect: every method starts from the same weights, which --weights "
            "MODEL=FILE names."
        )
    sources = read_methods(dict(settings.methods))
    options = {
        "default_hooks.checkpoint.interval": settings.pair.checkpoint_interval,
        **settings.options,
    }
    template = Config.fromfile(settings.configs / "_base_/pairs" / f"{settings.pair.name}.py")
    for method, cfg in sources.items():
        check_pair(cfg, method, pair=settings.pair.name, template=template)
    identity = training_data_identity(settings.pair, template, settings.data)
    runs: list[BenchmarkRun] = []
    for network in settings.networks:
        of_network = copy.deepcopy(sources)
        replaced = {
            method: use_network(cfg, network, configs=settings.configs, usual=settings.pair.network)
            for method, cfg in of_network.items()
        }
        # After the network, whose entries they may name.
        missed = merge_options(of_network, options)
        for seed in settings.seeds:
            group = _plan_group(settings, of_network, missed, network, seed, identity)
            runs += [
                dataclasses.replace(run, replaced_network=replaced[run.method]) for run in group
            ]
    return runs


def _plan_group(
    settings: Settings,
    sources: dict[str, Config],
    missed: dict[str, list[str]],
    network: str,
    seed: int,
    identity: list[str],
) -> list[BenchmarkRun]:
    """Runs of one network and seed; warm-ups of one segmentor are one, in this call and in later ones."""
    folder = settings.out / ("+".join(settings.tricks) or "plain") / network / f"seed_{seed}"
    weights = weights_of(
        network, usual=settings.pair.weights, data=settings.data, given=settings.weights
    )
    paths = {str(settings.data): "DATA"}
    if settings.translations is not None:
        paths[str(settings.translations)] = "TRANSLATIONS"
    if weights is not None:
        paths[str(weights)] = "WEIGHTS"
    initial_weights = "scratch" if weights is None else weights.name
    weights_hash = _hash_of(weights)
    shared_by_all = {
        "version": mmdrsl.__version__,
        "options": fingerprint([json.dumps(settings.options, sort_keys=True, default=str)])[:16],
        "weights": weights_hash[:16],
    }
    inputs_of, cfgs = {}, {}
    for method, source in sources.items():
        cfg = _run_config(settings, source, method, seed, weights)
        kept = {n: value for n, value in settings.options.items() if n not in missed[method]}
        check_kept(cfg, kept, title=title_of(source, method))
        translations = settings.translations if is_translated(cfg) else None
        manifest = [] if translations is None else [manifest_hash(translations)]
        cfgs[method], inputs_of[method] = cfg, [*identity, *manifest, weights_hash]
    warmups: dict[str, PlannedRun] = {}
    for members, warmup_cfg in _joined(cfgs, inputs_of):
        titles = ", ".join(title_of(sources[method], method) for method in members)
        title = f"warm-up for {titles}, {network}, seed {seed}"
        inputs = inputs_of[members[0]]
        shared = _earlier_warmup(warmup_cfg, title, folder, inputs, paths) or _planned(
            warmup_cfg, title, folder, "warmup_{hash}", inputs, paths
        )
        warmups.update(dict.fromkeys(members, shared))
    runs = []
    for method, source in sources.items():
        cfg, warmup = cfgs[method], warmups.get(method)
        translations = settings.translations if is_translated(cfg) else None
        evaluation = _trimmed(cfg)
        use_evaluation_set(evaluation, source, settings.evaluation)
        weight = settings.evaluation.target_weight or prediction_weight(
            cfg, settings.tricks, configs=settings.configs
        )
        if weight is not None:
            check_source_statistics(source)
            use_target_statistics(evaluation, source, weight)
        title = title_of(source, method)
        planned = _planned(
            _trimmed(cfg),
            f"{title}, {network}, seed {seed}",
            folder,
            method,
            inputs_of[method],
            paths,
            warmup,
        )
        runs.append(
            BenchmarkRun(
                training=planned.training,
                hash=planned.hash,
                recipe=planned.recipe,
                warmup=warmup,
                method=method,
                title=title,
                network=network,
                seed=seed,
                tricks=settings.tricks,
                translations=None if translations is None else translator_name(translations),
                protocol=protocol_of(cfg, initial_weights=initial_weights),
                data_hash=fingerprint(identity),
                shared=shared_by_all,
                evaluation=evaluation,
                missed_options=tuple(missed[method]),
            )
        )
    check_equal({run.method: run.protocol for run in runs})
    return runs


def _joined(
    cfgs: dict[str, Config], inputs_of: dict[str, list[str]]
) -> list[tuple[list[str], Config]]:
    """Methods that begin with one warm-up, and its config; methods with a warm-up of their own are left out."""
    groups: list[tuple[list[str], Config]] = []
    for method, cfg in cfgs.items():
        own = None if trains_on_target_labels(cfg) else warmup_config(cfg)
        if own is None:
            continue
        for index, (members, warmup_cfg) in enumerate(groups):
            joined = joined_warmup(warmup_cfg, own)
            if joined is not None and inputs_of[members[0]] == inputs_of[method]:
                groups[index] = ([*members, method], joined)
                break
        else:
            groups.append(([method], own))
    return groups


def _earlier_warmup(
    wanted: Config, title: str, folder: Path, inputs: list[str], paths: dict[str, str]
) -> PlannedRun | None:
    """A warm-up of an earlier call in which all that is wanted learns, perhaps beside heads of other methods."""
    fitting = []
    for file in sorted(folder.glob("warmup_*.py")):
        try:
            found = Config.fromfile(file)
        except ImportError:
            # A method of one's own learned in it that this call does not know.
            continue
        joined = joined_warmup(found, wanted)
        if joined is None or not _adds_nothing(joined, found):
            continue
        planned = _planned(found, title, folder, "warmup_{hash}", inputs, paths)
        # Of the same data and version.
        if planned.training.config_file == file:
            fitting.append(planned)
    # Rather one that is trained.
    return min(fitting, key=lambda run: not run.training.checkpoint.is_file(), default=None)


def _adds_nothing(joined: Config, found: Config) -> bool:
    """Whether a warm-up joined with another one has no head, term or hook that it did not have before."""
    parts = [{**cfg.to_dict(), "custom_imports": None} for cfg in (joined, found)]
    return parts[0] == parts[1]


def _run_config(
    settings: Settings, source: Config, method: str, seed: int, weights: Path | None
) -> Config:
    """A method's config with weights, seed, tricks and protocol."""
    # Config.copy is shallow: seeds would change one config between them.
    cfg = copy.deepcopy(source)
    pair = settings.pair
    use_weights(cfg, weights)
    if is_translated(cfg):
        use_translations(cfg, settings.translations)
        check_trained_translator(method, Path(cfg.train_dataloader.dataset.source.translations))
    use_tricks(
        cfg,
        settings.tricks,
        configs=settings.configs,
        translations=settings.translations,
        rare_class_pixels=pair.rare_class_pixels,
    )
    use_protocol(cfg, seed=seed, follow_rounds=settings.follow_rounds)
    return cfg


def _planned(
    cfg: Config,
    title: str,
    folder: Path,
    name: str,
    inputs: list[str],
    paths: dict[str, str],
    warmup: PlannedRun | None = None,
) -> PlannedRun:
    """A run whose hash does not depend on where data and results are."""
    entries = without_observers(cfg.to_dict())
    inputs = [*inputs, *map(file_hash, own_code(cfg))]
    unseeded = {**entries, "randomness": {**entries["randomness"], "seed": None}}
    code, recipe = (
        fingerprint([mmdrsl.__version__, _without_places(part, paths), *inputs])
        for part in (entries, unseeded)
    )
    name = name.format(hash=code[:8])
    training = TrainingRun(
        title=title,
        cfg=cfg,
        config_file=folder / f"{name}.py",
        folder=folder / name,
        first_step=0 if warmup is None else warmup.training.max_steps,
        warmup_checkpoint=None if warmup is None else folder / name / WARMUP_CHECKPOINT,
    )
    return PlannedRun(training=training, hash=code, recipe=recipe, warmup=warmup)


def _without_places(entries: dict[str, Any], paths: dict[str, str]) -> str:
    """A config as text in which paths are replaced by names."""
    text = json.dumps(entries, sort_keys=True, default=str)
    # The longest path first: one may be inside another.
    for path in sorted(paths, key=len, reverse=True):
        # As JSON writes it.
        text = text.replace(json.dumps(path)[1:-1], paths[path])
    return text


def _trimmed(cfg: Config) -> Config:
    """Only the entries that a Runner reads."""
    return copy.deepcopy(
        Config({key: cfg[key] for key in (*RUN_KEYS, *_NOT_VALIDATED) if key in cfg})
    )


def _hash_of(path: Path | None) -> str:
    return "none" if path is None else file_hash(path)
