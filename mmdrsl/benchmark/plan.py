"""From the options of a benchmark to its runs, each a training with an evaluation, and the warm-ups they share."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmdrsl
from mmdrsl.atomic_files import file_hash
from mmdrsl.benchmark.config_options import check_kept, merge_options
from mmdrsl.benchmark.evaluation_set import EvaluationSet, use_evaluation_set, use_target_statistics
from mmdrsl.benchmark.extras import check_source_statistics, prediction_share, use_extras
from mmdrsl.benchmark.methods import METHODS, method_config
from mmdrsl.benchmark.networks import use_network, weights_of
from mmdrsl.benchmark.pairs import DEFAULT_PAIR, PAIRS, training_data_identity
from mmdrsl.benchmark.protocol import check_equal, protocol_of, use_protocol
from mmdrsl.benchmark.training_run import ROOT, TrainingRun, fingerprint
from mmdrsl.benchmark.translations import (
    check_trained_translator,
    is_translated,
    manifest_hash,
    translator_name,
    use_translations,
)
from mmdrsl.benchmark.warmup import RUN_KEYS, joined_warmup, warmup_config, warmup_iterations

CONFIGS = ROOT / "configs"
# In a run's folder while it trains: its part of the warm-up's checkpoint.
WARMUP_CHECKPOINT = "warmup.pth"
# Entries that no hash of a training holds.
_OF_EVALUATION = ("val_", "test_", "target_dataset", "model.segmentor.test_cfg")
_NOT_VALIDATED = tuple(
    f"{part}_{key}" for part in ("val", "test") for key in ("cfg", "dataloader", "evaluator")
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a benchmark is asked for.

    Attributes:
        data: Folder of the pair's data; ``weights/`` in it has those of backbones.
        out: Folder of runs and results.
        methods: Keys of `METHODS`.
        networks: Keys of `NETWORKS`.
        seeds: Training seeds.
        evaluation: Labeled images to evaluate on.
        extras: Keys of `EXTRAS`, given to every method.
        weights: Backbone file by network, or ``scratch``.
        translations: Folder of the translated source.
        options: Config entries to override in every run that has them.
        configs: Folder of the configs.
        pair: Key of `PAIRS`.
    """

    data: Path
    out: Path
    methods: tuple[str, ...]
    networks: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluation: EvaluationSet
    extras: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    translations: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    configs: Path = CONFIGS
    pair: str = DEFAULT_PAIR


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
        method: Key of `METHODS`.
        network: Key of `NETWORKS`.
        seed: Training seed.
        extras: Keys of `EXTRAS`.
        translations: What `translator_name` says of the source images; None where they are the originals.
        protocol: What `protocol_of` says.
        data_hash: Hash of what lists the training data.
        evaluation: Config of the evaluation.
        missed_options: Options that have no place in the method's config.
    """

    method: str
    network: str
    seed: int
    extras: tuple[str, ...]
    translations: str | None
    protocol: dict[str, Any]
    data_hash: str
    evaluation: Config
    missed_options: tuple[str, ...] = ()


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
    if settings.evaluation.target_share is not None and "target_statistics" in settings.extras:
        raise ValueError(
            "the extra target_statistics sets the statistics of prediction: leave --target-statistics out."
        )
    judged = [name for name in settings.options if name.startswith(_OF_EVALUATION)]
    if judged:
        raise ValueError(
            f"--cfg-options {judged} would change how runs are evaluated, which is equal for all: choose the images "
            "with --eval-data and --eval-split, the statistics with --target-statistics."
        )
    pair = PAIRS[settings.pair]
    sources = {
        method: method_config(method, settings.configs, pair.name) for method in settings.methods
    }
    # An option of one method is no mistake where only others are asked for: the same options fit every call.
    others = {
        method: method_config(method, settings.configs, pair.name)
        for method in METHODS
        if method not in sources
    }
    missed = merge_options(
        {**others, **sources},
        {"default_hooks.checkpoint.interval": pair.checkpoint_interval, **settings.options},
    )
    template = method_config("source_only", settings.configs, pair.name)
    identity = training_data_identity(pair, template, settings.data)
    runs: list[BenchmarkRun] = []
    for network in settings.networks:
        for seed in settings.seeds:
            runs += _plan_group(settings, sources, others, missed, network, seed, identity)
    return runs


def _plan_group(
    settings: Settings,
    sources: dict[str, Config],
    others: dict[str, Config],
    missed: dict[str, list[str]],
    network: str,
    seed: int,
    identity: list[str],
) -> list[BenchmarkRun]:
    """Runs of one network and seed; warm-ups of one segmentor are one, in this call and in later ones."""
    folder = settings.out / ("+".join(settings.extras) or "plain") / network / f"seed_{seed}"
    weights = weights_of(network, data=settings.data, given=dict(settings.weights))
    paths = {str(settings.data): "DATA"}
    if settings.translations is not None:
        paths[str(settings.translations)] = "TRANSLATIONS"
    if weights is not None:
        paths[str(weights)] = "WEIGHTS"
    initial_weights = "scratch" if weights is None else weights.name
    inputs_of, cfgs = {}, {}
    # In the order of the table, so that a warm-up is the same whichever methods are asked for.
    for method in METHODS:
        if method in sources:
            cfg = _run_config(settings, sources[method], method, network, seed, weights)
            kept = {
                name: value
                for name, value in settings.options.items()
                if name not in missed[method]
            }
            check_kept(cfg, kept, title=METHODS[method].title)
        elif (
            other := _other_config(settings, others[method], method, network, seed, weights)
        ) is None:
            continue
        else:
            cfg = other
        translations = settings.translations if is_translated(cfg) else None
        manifest = [] if translations is None else [manifest_hash(translations)]
        cfgs[method], inputs_of[method] = cfg, [*identity, *manifest, _hash_of(weights)]
    warmups: dict[str, PlannedRun] = {}
    for members, warmup_cfg in _joined(cfgs, inputs_of):
        asked = [METHODS[method].title for method in members if method in sources]
        shared = _planned(
            warmup_cfg,
            f"warm-up for {', '.join(asked)}, {network}, seed {seed}",
            folder,
            "warmup_{hash}",
            inputs_of[members[0]],
            paths,
        )
        warmups.update(dict.fromkeys(members, shared))
    runs = []
    for method, source in sources.items():
        cfg, warmup = cfgs[method], warmups.get(method)
        translations = settings.translations if is_translated(cfg) else None
        evaluation = _trimmed(cfg)
        use_evaluation_set(evaluation, source, settings.evaluation)
        share = settings.evaluation.target_share or prediction_share(cfg, settings.extras)
        if share is not None:
            check_source_statistics(source)
            use_target_statistics(evaluation, source, share)
        planned = _planned(
            _trimmed(cfg),
            f"{METHODS[method].title}, {network}, seed {seed}",
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
                network=network,
                seed=seed,
                extras=settings.extras,
                translations=None if translations is None else translator_name(translations),
                protocol=protocol_of(cfg, initial_weights=initial_weights),
                data_hash=fingerprint(identity),
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
        # Nobody else begins on the labeled target.
        own = None if method == "oracle" else warmup_config(cfg)
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


def _other_config(
    settings: Settings, source: Config, method: str, network: str, seed: int, weights: Path | None
) -> Config | None:
    """Config of a method that is not asked for, whose heads learn in the shared warm-up: it may be asked for later.

    None where it needs translated images and there are none of a trained translator, or where the options, which are
    those of the methods asked for, leave it no run.
    """
    if METHODS[method].is_translated and settings.translations is None:
        return None
    try:
        cfg = _run_config(settings, source, method, network, seed, weights)
        warmup_iterations(cfg)
    except ValueError:
        return None
    return cfg


def _run_config(
    settings: Settings, source: Config, method: str, network: str, seed: int, weights: Path | None
) -> Config:
    """A method's config with network, seed, extras and protocol."""
    # Config.copy is shallow: seeds and networks would change one config between them.
    cfg = copy.deepcopy(source)
    pair = PAIRS[settings.pair]
    use_network(cfg, network, configs=settings.configs, weights=weights, usual=pair.network)
    if METHODS[method].is_translated:
        use_translations(cfg, settings.translations)
        check_trained_translator(method, Path(cfg.train_dataloader.dataset.source.translations))
    use_extras(
        cfg,
        settings.extras,
        configs=settings.configs,
        translations=settings.translations,
        is_oracle=method == "oracle",
        rare_class_pixels=pair.rare_class_pixels,
    )
    use_protocol(cfg, seed=seed)
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
    entries = cfg.to_dict()
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
        text = text.replace(path, paths[path])
    return text


def _trimmed(cfg: Config) -> Config:
    """Only the entries that a Runner reads."""
    return copy.deepcopy(
        Config({key: cfg[key] for key in (*RUN_KEYS, *_NOT_VALIDATED) if key in cfg})
    )


def _hash_of(path: Path | None) -> str:
    return "none" if path is None else file_hash(path)
