import importlib
import importlib.metadata
import importlib.util
import pkgutil

import pytest
from mmseg.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS, TASK_UTILS, TRANSFORMS

import mmdrsl
from mmdrsl.environment import INSTALL_COMMAND, check_environment

REGISTERED = [
    *((MODELS, name) for name in (
        "UDASegmentor", "UDADataPreprocessor", "MMDLHead", "DRSLHead", "SegNetHead",
        "SegNetEncoder", "ModeMetricLoss", "StochasticModeAlignmentLoss", "SegmentationTerm",
        "ModelRegularizationTerm", "ModeMetricTerm", "ModeAlignmentTerm", "AdversarialTerm",
        "EntropyAdversarialTerm", "ClassMixTerm", "FeatureAdaptationTerm",
        "RectifiedCrossEntropyTerm",
    )),
    *((HOOKS, name) for name in (
        "SelfTrainingHook", "ModeMaintenanceHook", "ModeMonitorHook", "AtomicCheckpointHook",
        "StepSeedHook", "AdaBNHook", "TestTimeBNHook", "MeanTeacherHook", "AfterStepHook",
        "SharedBuffersHook", "RunCostHook", "PredictionDrawingHook", "RunReportHook",
        "ReadableLogHook",
    )),
    *((DATASETS, name) for name in (
        "LabelledImageDataset", "UnlabelledDataset", "TwoDomainDataset", "GTA5Dataset",
        "SYNTHIADataset", "KITTIDataset", "CamVidDataset", "CARLADataset",
        "CityscapesLabelIdsDataset", "CityscapesTrainIdsDataset", "GTA5TrainIdsDataset",
        "SYNTHIATrainIdsDataset", "KITTITrainIdsDataset", "SYNTHIASFDataset", "KITTIRawDataset",
        "VideoDataset",
    )),
    *((TRANSFORMS, name) for name in ("LoadImage", "LoadLabels", "LoadPseudoLabels")),
    (DATA_SAMPLERS, "TwoDomainSampler"),
    (TASK_UTILS, "ClassBalancedPolicy"),
    (METRICS, "ClassIoUMetric"),
]  # fmt: skip


@pytest.mark.parametrize(("registry", "name"), REGISTERED)
def test_registered(registry, name):
    found = registry.get(name)
    assert found is not None
    assert found.__module__.startswith("mmdrsl.")


def test_every_module_imports():
    names = [info.name for info in pkgutil.walk_packages(mmdrsl.__path__, "mmdrsl.")]
    assert len(names) > 40
    for name in names:
        assert importlib.import_module(name).__doc__, name


def test_this_environment_is_fine():
    check_environment()


def hide(monkeypatch, *names):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *args: None if name in names else find_spec(name, *args),
    )


def test_missing_torch(monkeypatch):
    hide(monkeypatch, "torch")
    with pytest.raises(ImportError, match="pip install torch torchvision"):
        check_environment()


@pytest.mark.parametrize("names", [("mmseg",), ("mmengine", "mmcv", "mmseg")])
def test_missing_packages(monkeypatch, names):
    hide(monkeypatch, *names)
    with pytest.raises(ImportError) as error:
        check_environment()
    assert f"not installed: {', '.join(names)}." in str(error.value)
    assert INSTALL_COMMAND in str(error.value)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("2.5.1", False), ("1.13.0+cu117", False), ("2.6.0", True), ("2.14.1+cpu", True),
     ("3.0", True), ("2.7.0a0+git1", True), ("2.10rc1", True)],
)  # fmt: skip
def test_versions_of_torch(monkeypatch, version, accepted):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    if accepted:
        check_environment()
    else:
        with pytest.raises(ImportError) as error:
            check_environment()
        assert f"torch >= 2.6, found {version}" in str(error.value)


@pytest.mark.parametrize(
    "failure",
    [
        ImportError("No module named 'mmcv._ext'"),
        AssertionError("MMCV==2.2.0 is used but incompatible"),
    ],
)
def test_packages_that_do_not_fit(monkeypatch, failure):
    def fail(name):
        raise failure

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError) as error:
        check_environment()
    assert str(failure) in str(error.value)
    assert "pip uninstall -y mmcv mmcv-lite" in str(error.value)
    assert error.value.__cause__ is failure
