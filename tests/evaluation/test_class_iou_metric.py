import math
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import METRICS

from mmdrsl.datasets.label_spaces import CITYSCAPES_TABLE, LABEL_SPACES, build_lookup

CLASSES = ("road", "building", "sky", "car")
IGNORED = 255


def build(**options):
    metric = METRICS.build(dict(type="ClassIoUMetric", **options))
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def samples(count=4, classes=4, seed=0):
    generator = np.random.default_rng(seed)
    result = []
    for index in range(count):
        label = generator.integers(classes, size=(1, 9, 11))
        wrong = generator.integers(classes, size=label.shape)
        predicted = np.where(generator.random(label.shape) < 0.6, label, wrong)
        label[:, 0] = IGNORED
        result.append(
            dict(
                img_path=f"folder/seq{index % 2}_{index:03d}.png",
                pred_sem_seg=dict(data=torch.from_numpy(predicted)),
                gt_sem_seg=dict(data=torch.from_numpy(label)),
            )
        )
    return result


def confusion(items):
    """Rows are labels, columns predictions."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for item in items:
        label, predicted = (
            item[key]["data"].numpy().ravel() for key in ("gt_sem_seg", "pred_sem_seg")
        )
        valid = label != IGNORED
        np.add.at(matrix, (label[valid], predicted[valid]), 1)
    return matrix


def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return 100 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))


def evaluate(metric, items, batch_size=2):
    for start in range(0, len(items), batch_size):
        metric.process({}, items[start : start + batch_size])
    return metric.evaluate(len(items))


def test_against_a_confusion_matrix():
    items = samples()
    found = evaluate(build(), items)
    matrix = confusion(items)
    expected = class_iou(matrix)
    assert set(found) == {"aAcc", "mIoU", "mAcc", *(f"IoU.{name}" for name in CLASSES)}
    for name, value in zip(CLASSES, expected, strict=True):
        assert found[f"IoU.{name}"] == pytest.approx(value, abs=0.006)
    assert found["mIoU"] == pytest.approx(expected.mean(), abs=0.006)
    assert found["aAcc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum(), abs=0.006)
    accuracy = 100 * np.diag(matrix) / matrix.sum(1)
    assert found["mAcc"] == pytest.approx(accuracy.mean(), abs=0.006)


def test_absent_class_is_nan_and_left_out():
    items = samples(classes=3)
    found = evaluate(build(), items)
    expected = class_iou(confusion(items))
    assert math.isnan(found["IoU.car"])
    assert found["mIoU"] == pytest.approx(np.nanmean(expected), abs=0.006)


def test_class_only_predicted_counts_as_zero():
    items = samples(classes=3)
    items[0]["pred_sem_seg"]["data"][0, 5, 5] = 3
    found = evaluate(build(), items)
    assert found["IoU.car"] == 0
    assert found["mIoU"] == pytest.approx(class_iou(confusion(items)).mean(), abs=0.006)


def test_groups():
    items = samples(count=5)
    found = evaluate(build(group_pattern=r"^(seq\d)_"), items, batch_size=3)
    for group in ("seq0", "seq1"):
        matrix = confusion([item for item in items if group in item["img_path"]])
        assert found[f"{group}.mIoU"] == pytest.approx(np.nanmean(class_iou(matrix)), abs=0.006)
        accuracy = 100 * np.trace(matrix) / matrix.sum()
        assert found[f"{group}.aAcc"] == pytest.approx(accuracy, abs=0.006)
    assert found["mIoU"] == evaluate(build(), items)["mIoU"]
    assert {name for name in found if name.startswith("seq")} == {
        f"seq{n}.{key}" for n in (0, 1) for key in ("mIoU", "aAcc")
    }


def test_a_second_evaluation_starts_afresh():
    metric = build()
    first = evaluate(metric, samples())
    assert evaluate(metric, samples()) == first


def test_group_pattern_errors():
    for pattern in ("seq", "(a)(b)"):
        with pytest.raises(ValueError, match="exactly one group"):
            build(group_pattern=pattern)
    with pytest.raises(ValueError, match=r"seq0_000\.png.*does not match"):
        evaluate(build(group_pattern="city(.)"), samples())


def test_images_without_labels_name_the_remedy(tmp_path):
    sample = dict(img_path="a.png", pred_sem_seg=dict(data=torch.zeros(1, 2, 2, dtype=torch.long)))
    with pytest.raises(
        ValueError, match=r"a\.png has no label .* format_only=True, output_dir=DIR"
    ):
        build().process({}, [sample])
    build(format_only=True, output_dir=str(tmp_path)).process({}, [sample])
    assert (tmp_path / "a.png").is_file()


def test_images_of_which_every_pixel_is_ignored_name_the_remedy():
    """An unlabeled dataset with LoadPseudoLabels gives such labels."""
    ignored = [
        {**item, "gt_sem_seg": dict(data=torch.full_like(item["gt_sem_seg"]["data"], 255))}
        for item in samples()
    ]
    with pytest.raises(ValueError, match=r"No pixel .* has a label: .*format_only=True"):
        evaluate(build(), ignored)


def test_format_only(tmp_path):
    metric = build(format_only=True, output_dir=str(tmp_path))
    items = [
        {key: value for key, value in item.items() if key != "gt_sem_seg"} for item in samples()
    ]
    metric.process({}, items)
    assert metric.compute_metrics(metric.results) == {}
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_equal_names_in_sub_folders_stay_apart(tmp_path):
    items = [{**item, "img_path": f"/data/cam{i}/0001.png"} for i, item in enumerate(samples())]
    for item in items:
        item.pop("gt_sem_seg")
    named = [{**item, "sample_id": item["img_path"][6:-4]} for item in items]
    metric = build(format_only=True, output_dir=str(tmp_path))
    metric.process({}, [*named, named[0]])
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert written == {f"cam{i}/0001.png" for i in range(4)}
    stored = cv2.imread(str(tmp_path / "cam2/0001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, named[2]["pred_sem_seg"]["data"][0].numpy())
    metric = build(format_only=True, output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"cam0/0001.png and .*cam1/0001.png would both be 0001"):
        metric.process({}, items)


SPACE19 = LABEL_SPACES["cityscapes19"].classes
TAIL = ("terrain", "truck", "train")
TAIL6 = (*TAIL, "wall", "fence", "pole")


def city_samples(count=3, seed=0, predicted_classes=19):
    """Images whose every pixel is random, with all 19 classes."""
    generator = np.random.default_rng(seed)
    result = []
    for index in range(count):
        label = generator.integers(19, size=(1, 30, 40)).astype(np.uint8)
        noise = generator.integers(predicted_classes, size=label.shape)
        keep = (generator.random(label.shape) < 0.4) & (label < predicted_classes)
        predicted = np.where(keep, label, noise)
        label[generator.random(label.shape) < 0.1] = IGNORED
        result.append(
            dict(
                img_path=f"{index:03d}.png",
                pred_sem_seg=dict(data=torch.from_numpy(predicted)),
                gt_sem_seg=dict(data=torch.from_numpy(label)),
            )
        )
    return result


def build_city(**options):
    metric = METRICS.build(dict(type="ClassIoUMetric", **options))
    metric.dataset_meta = dict(classes=SPACE19)
    return metric


def by_pixel_loops(items, included, *, excluded_counts):
    """IoU by class name from masks of pixels, without any matrix."""
    label = np.concatenate([item["gt_sem_seg"]["data"].numpy().ravel() for item in items])
    predicted = np.concatenate([item["pred_sem_seg"]["data"].numpy().ravel() for item in items])
    ids = {name: SPACE19.index(name) for name in included}
    own = np.isin(label, list(ids.values()))
    counted = label != IGNORED if excluded_counts else own
    result = {}
    for name, class_id in ids.items():
        hit = np.sum((label == class_id) & (predicted == class_id))
        missed = np.sum((label == class_id) & (predicted != class_id))
        false = np.sum((label != class_id) & (predicted == class_id) & counted)
        result[name] = 100 * hit / (hit + missed + false)
    return result, 100 * np.mean(label[own] == predicted[own])


@pytest.mark.parametrize("excluded_counts", [False, True])
def test_all_sets_of_classes_from_one_pass(excluded_counts):
    items = city_samples()
    found = evaluate(build_city(excluded_as_false_positives=excluded_counts), items)
    sets = {"": (), "16": TAIL, "13": TAIL6}
    for number, left_out in sets.items():
        included = [name for name in SPACE19 if name not in left_out]
        expected, accuracy = by_pixel_loops(items, included, excluded_counts=excluded_counts)
        assert found[f"aAcc{number}"] == pytest.approx(accuracy, abs=0.006)
        mean = sum(expected.values()) / len(included)
        assert found[f"mIoU{number}"] == pytest.approx(mean, abs=0.006)
        per_class = {
            key.split(".", 1)[1]: value
            for key, value in found.items()
            if key.startswith(f"IoU{number}.")
        }
        assert per_class == pytest.approx(expected, abs=0.006)
    assert found["mIoU19"] == found["mIoU"]
    assert found["aAcc19"] == found["aAcc"]
    assert not [key for key in found if key.startswith("IoU19.")]


def test_hand_made_case_of_a_subset():
    """Road ground truth: 2 road, 1 truck (a miss). Truck ground truth: 1 road, left out or counted."""
    road, truck, sky = (SPACE19.index(name) for name in ("road", "truck", "sky"))
    item = dict(
        img_path="a.png",
        gt_sem_seg=dict(data=torch.tensor([[[road, road, road, truck, sky, IGNORED]]])),
        pred_sem_seg=dict(data=torch.tensor([[[road, road, truck, road, sky, road]]])),
    )
    usual = evaluate(build_city(), [item])
    assert usual["IoU16.road"] == pytest.approx(66.67)  # 2 / (2 + 1 missed)
    assert usual["IoU.road"] == 50.0  # the truck is among the 19
    assert usual["mIoU16"] == pytest.approx(83.33)  # road and sky; no other class occurs
    assert usual["aAcc16"] == 75.0
    strict = evaluate(build_city(excluded_as_false_positives=True), [item])
    assert strict["IoU16.road"] == 50.0
    assert strict["aAcc16"] == 75.0


def test_16_way_model_on_16_class_labels():
    metric = METRICS.build(dict(type="ClassIoUMetric"))
    metric.dataset_meta = dict(classes=LABEL_SPACES["synthia16"].classes)
    items = city_samples(predicted_classes=16)
    for item in items:
        label = item["gt_sem_seg"]["data"]
        label[(label >= 16) & (label != IGNORED)] = IGNORED
    found = evaluate(metric, items)
    assert found["mIoU16"] == found["mIoU"]
    assert "mIoU19" not in found
    per_class = [value for key, value in found.items() if key.startswith("IoU.")]
    assert len(per_class) == 16
    assert found["mIoU"] == pytest.approx(sum(per_class) / 16, abs=0.006)
    assert len([key for key in found if key.startswith("IoU13.")]) == 13


def test_16_way_model_on_19_class_labels():
    """Ids go by name; the ground truth of excluded classes can then count as false positives."""
    names = LABEL_SPACES["synthia16"].classes
    items16 = city_samples(predicted_classes=16)
    items19 = [
        {
            **item,
            "pred_sem_seg": dict(
                data=torch.tensor([SPACE19.index(name) for name in names])[
                    item["pred_sem_seg"]["data"]
                ]
            ),
        }
        for item in items16
    ]
    for counts in (False, True):
        options = dict(excluded_as_false_positives=counts)
        found = evaluate(build_city(prediction_space="synthia16", **options), items16)
        expected = evaluate(build_city(**options), items19)
        assert found["mIoU"] == found["mIoU16"] == expected["mIoU16"]
        assert found["mIoU13"] == expected["mIoU13"]
        assert {key: found[f"IoU.{key}"] for key in names} == {
            key: expected[f"IoU16.{key}"] for key in names
        }
        assert "mIoU19" not in found
        assert "IoU.train" not in found


def official_scores(folder, pairs):
    """Run cityscapesScripts on pairs of label id and predicted label id maps."""
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesscripts is not installed (extra dev)",
    )
    predictions, labels = [], []
    for index, (label, predicted) in enumerate(pairs):
        for names, kind, ids in (
            (labels, "gtFine_labelIds", label),
            (predictions, "pred", predicted),
        ):
            names.append(str(folder / f"city_{index:06d}_000000_{kind}.png"))
            cv2.imwrite(names[-1], ids)
    official.args.evalInstLevelScore = False
    official.args.JSONOutput = False
    official.args.quiet = True
    return official.evaluateImgLists(predictions, labels, official.args)


def compare_with_official(folder, raw_labels, seed):
    """Predictions are the label with noise; both evaluations get the same pixels."""
    lookup = build_lookup(CITYSCAPES_TABLE, LABEL_SPACES["cityscapes19"], {})
    name_to_id = {name: raw_id for raw_id, name in CITYSCAPES_TABLE.ids.items()}
    to_label_id = np.array([name_to_id[name] for name in SPACE19], np.uint8)
    generator = np.random.default_rng(seed)
    pairs, items = [], []
    for index, raw in enumerate(raw_labels):
        train_ids = lookup[raw]
        noise = generator.integers(19, size=raw.shape)
        keep = (train_ids != IGNORED) & (generator.random(raw.shape) < 0.7)
        predicted = np.where(keep, train_ids, noise).astype(np.uint8)
        pairs.append((raw, to_label_id[predicted]))
        items.append(
            dict(
                img_path=f"{index}.png",
                pred_sem_seg=dict(data=torch.from_numpy(predicted)[None]),
                gt_sem_seg=dict(data=torch.from_numpy(train_ids.astype(np.uint8))[None]),
            )
        )
    expected = official_scores(folder, pairs)
    found = evaluate(build_city(), items, batch_size=1)
    assert found["mIoU"] == pytest.approx(100 * expected["averageScoreClasses"], abs=0.006)
    for name in SPACE19:
        assert found[f"IoU.{name}"] == pytest.approx(
            100 * expected["classScores"][name], abs=0.006, nan_ok=True
        )


def test_against_the_official_evaluation(tmp_path):
    generator = np.random.default_rng(5)
    compare_with_official(
        tmp_path, [generator.integers(34, size=(60, 80), dtype=np.uint8) for _ in range(3)], seed=6
    )


@pytest.mark.data
def test_against_the_official_evaluation_on_real_labels(tmp_path):
    folder = Path(os.environ.get("MMDRSL_SAMPLES", ""), "cityscapes", "labels")
    if not folder.is_dir():
        pytest.skip("MMDRSL_SAMPLES names no folder of samples")
    labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())]
    assert len(labels) == 3
    compare_with_official(tmp_path, labels, seed=7)


def run_rank(rank, world_size, store, items, queue):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world_size
    )
    # The slice that DefaultSampler without shuffling gives this rank, with its repetitions.
    total = math.ceil(len(items) / world_size) * world_size
    own = [items[index % len(items)] for index in range(total)][rank::world_size]
    metric = build_city(group_pattern=r"(\d)\.png")
    for start in range(0, len(own), 2):
        metric.process({}, own[start : start + 2])
    queue.put((rank, metric.evaluate(len(items))))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("count", [3, 4])
def test_ranks_count_every_image_once(tmp_path, count):
    items = city_samples(count=count)
    alone = evaluate(build_city(group_pattern=r"(\d)\.png"), items)
    context = torch.multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=run_rank, args=(rank, 2, tmp_path / "store", items, queue))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert found == {0: alone, 1: alone}


def test_memory_does_not_grow_with_images():
    metric = build_city()
    item = city_samples(count=1)[0]
    metric.process({}, [item] * 3)
    before = len(pickle.dumps(vars(metric)))
    metric.process({}, [item] * 60)
    assert len(pickle.dumps(vars(metric))) == before
    assert metric.results == []


def test_wrong_ids_and_sizes_name_the_image():
    item = city_samples(count=1)[0]
    large = {**item, "pred_sem_seg": dict(data=torch.full_like(item["pred_sem_seg"]["data"], 19))}
    with pytest.raises(ValueError, match=r"000\.png: the prediction holds ids \[19\]"):
        build_city().process({}, [large])
    small = {**item, "pred_sem_seg": dict(data=item["pred_sem_seg"]["data"][:, ::2])}
    with pytest.raises(ValueError, match=r"000\.png: the label has shape"):
        build_city().process({}, [small])
    with pytest.raises(ValueError, match=r"'sign_or_light'"):
        build_city(prediction_space="street10").process({}, [item])
    with pytest.raises(ValueError, match="holds id 18"):
        build_city(prediction_space="synthia16").process({}, [item])
    with pytest.raises(ValueError, match="No image was evaluated"):
        build_city().evaluate(0)


def test_option_errors():
    with pytest.raises(ValueError, match="unknown label_space 'nine'"):
        build_city(subsets=["nine"])
    with pytest.raises(ValueError, match="repeat a number of classes"):
        build_city(subsets=["synthia16", "synthia16"])
    with pytest.raises(ValueError, match="give output_dir"):
        build_city(format_only=True)
