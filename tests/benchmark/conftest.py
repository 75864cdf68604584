"""A tiny benchmark, and plans of runs on it."""

import pytest
from benchmark_data import write_benchmark

from mmdrsl.benchmark.evaluation_set import read_evaluation_set
from mmdrsl.benchmark.methods import built_in_methods, choose_methods
from mmdrsl.benchmark.pairs import DEFAULT_PAIR, read_pair
from mmdrsl.benchmark.plan import CONFIGS, Settings, plan_runs
from mmdrsl.engine.launch import resolve_mmseg_bases


@pytest.fixture(scope="session")
def benchmark_root(tmp_path_factory):
    """The default pair's data; tests that change them write their own."""
    return write_benchmark(tmp_path_factory.mktemp("benchmark") / "data")


@pytest.fixture(scope="module", autouse=True)
def data_of_the_configs(benchmark_root):
    resolve_mmseg_bases()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDRSL_BENCHMARK", str(benchmark_root))
        yield


@pytest.fixture(scope="session")
def settings(benchmark_root, tmp_path_factory):
    """Settings of a benchmark of some methods, by default all, in a new folder."""
    pair = read_pair(DEFAULT_PAIR, CONFIGS)
    evaluation = read_evaluation_set(
        benchmark_root / "camvid", "val", label_space="street10", data=benchmark_root
    )

    def build(*methods, **changes):
        asked = methods or built_in_methods(CONFIGS, pair.name)
        values = dict(
            data=benchmark_root,
            out=tmp_path_factory.mktemp("out"),
            methods=choose_methods(asked, CONFIGS, pair.name),
            networks=(pair.network,),
            seeds=(3,),
            evaluation=evaluation,
            weights={pair.network: "scratch"},
            translations=benchmark_root,
            pair=pair,
        )
        return Settings(**{**values, **changes})

    return build


@pytest.fixture(scope="session")
def plan(settings):
    """Runs by method, of one network and seed."""

    def build(*methods, **changes):
        return {run.method: run for run in plan_runs(settings(*methods, **changes))}

    return build


@pytest.fixture(scope="module")
def usual(plan):
    """The runs of all built-in methods."""
    return plan()
