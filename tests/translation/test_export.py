import json
import multiprocessing
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from street_names import NAMES

from mmdrsl.atomic_files import file_hash
from mmdrsl.translation.export import choose_reference, translate_images
from mmdrsl.translation.functional import keep_lightness, match_lab_statistics, swap_low_amplitudes
from mmdrsl.translation.translators import ColorTranslator, FourierTranslator, LabTranslator

ROOT = Path(__file__).resolve().parents[2]


def files(root):
    return {name: root / f"source/images/{name}.png" for name in NAMES}


def targets(root):
    return {name: root / f"target/{name}.png" for name in ("x", "y", "z")}


def translate(root, out, translator=None, **options):
    return translate_images(
        images=files(root),
        references=targets(root),
        translator=translator or LabTranslator(),
        out=out,
        **options,
    )


def contents(out):
    return {p.relative_to(out): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", ["lab", "fourier"])
def test_every_image_is_translated_with_its_reference(street, kind):
    root, out = street[0], street[0] / "out"
    translator = LabTranslator() if kind == "lab" else FourierTranslator(band=0.1)
    assert translate(root, out, translator) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert sorted(manifest["images"]) == sorted(NAMES)
    assert manifest["settings"]["translator"] == kind
    assert not (out / ".unfinished").exists()
    for name, entry in manifest["images"].items():
        original = files(root)[name]
        assert entry["source_sha256"] == file_hash(original)
        assert entry["sha256"] == file_hash(out / entry["file"])
        assert (entry["width"], entry["height"]) == (24, 16)
        image = cv2.imread(str(original))
        reference = cv2.imread(str(targets(root)[entry["reference"]]))
        expected = (
            match_lab_statistics(image, reference)
            if kind == "lab"
            else swap_low_amplitudes(image, reference, 0.1)
        )
        assert np.array_equal(cv2.imread(str(out / entry["file"])), expected)


def test_references_follow_name_and_seed_and_cover_the_target():
    chosen = [choose_reference(f"image_{i}", ["x", "y", "z"], 0) for i in range(300)]
    assert chosen == [choose_reference(f"image_{i}", ["x", "y", "z"], 0) for i in range(300)]
    assert all(70 < chosen.count(name) < 130 for name in "xyz")
    assert chosen != [choose_reference(f"image_{i}", ["x", "y", "z"], 1) for i in range(300)]


class StopsAfter(LabTranslator):
    def __init__(self, count):
        self.count = count

    def translate(self, image, reference=None):
        self.count -= 1
        if self.count < 0:
            raise KeyboardInterrupt
        return super().translate(image, reference)


def test_interrupted_and_continued_ends_the_same(street):
    root = street[0]
    translate(root, root / "whole")
    with pytest.raises(KeyboardInterrupt):
        translate(root, root / "parts", StopsAfter(3))
    assert not (root / "parts/manifest.json").exists()
    log = root / "parts/.unfinished/0.jsonl"
    # A kill may also cut a line short, and leave a damaged file.
    lines = log.read_text().strip().splitlines()
    log.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    (root / "parts" / json.loads(lines[0])["file"]).write_bytes(b"cut")
    assert translate(root, root / "parts") == 1
    assert contents(root / "parts") == contents(root / "whole")
    # Complete: nothing is done again; a lost file alone is.
    assert translate(root, root / "parts") == 5
    (root / "parts/images/five.png").unlink()
    assert translate(root, root / "parts") == 4
    assert contents(root / "parts") == contents(root / "whole")


class RankTranslator(LabTranslator):
    """Notes which images its rank translated."""

    def __init__(self, log):
        self.log = log

    def translate(self, image, reference=None):
        with open(self.log, "a") as file:
            file.write("x")
        return super().translate(image, reference)


def one_rank(rank, root, out):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{root}/address", rank=rank, world_size=2
    )
    kept = translate(root, out, RankTranslator(root / f"rank_{rank}"))
    torch.distributed.destroy_process_group()
    (root / f"kept_{rank}").write_text(str(kept))


def on_two_ranks(root, out):
    (root / "address").unlink(missing_ok=True)
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=one_rank, args=(rank, root, out)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=300)
    assert [process.exitcode for process in ranks] == [0, 0]


def test_ranks_share_the_images(street):
    root = street[0]
    translate(root, root / "whole")
    on_two_ranks(root, root / "split")
    assert contents(root / "split") == contents(root / "whole")
    shares = [(root / f"rank_{rank}").read_text() for rank in range(2)]
    assert sorted(map(len, shares)) == [2, 3]
    # Again, with one image lost: it alone is made, whichever rank finds it missing.
    (root / "split/images/five.png").unlink()
    on_two_ranks(root, root / "split")
    assert contents(root / "split") == contents(root / "whole")
    assert [(root / f"kept_{rank}").read_text() for rank in range(2)] == ["4", "4"]
    assert sum(len((root / f"rank_{rank}").read_text()) for rank in range(2)) == 6


def test_changed_source_image_is_translated_again(street):
    root = street[0]
    translate(root, root / "out")
    path = files(root)["five"]
    cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    assert translate(root, root / "out") == 4
    translate(root, root / "whole")
    assert contents(root / "out") == contents(root / "whole")


def test_other_target_is_refused(street):
    root = street[0]
    translate(root, root / "out")
    path = targets(root)["x"]
    cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
    with pytest.raises(ValueError, match="was made with the settings"):
        translate(root, root / "out")


def test_part_of_the_images_leaves_the_rest_of_the_set(street):
    root = street[0]
    translate(root, root / "out")
    before = contents(root / "out")
    kept = translate_images(
        images={"five": files(root)["five"]},
        references=targets(root),
        translator=LabTranslator(),
        out=root / "out",
    )
    assert kept == 1
    assert contents(root / "out") == before


def test_other_settings_and_unknown_folders_are_refused(street):
    root = street[0]
    translate(root, root / "out")
    with pytest.raises(ValueError, match="was made with the settings"):
        translate(root, root / "out", FourierTranslator(band=0.1))
    with pytest.raises(ValueError, match="was made with the settings"):
        translate(root, root / "out", seed=1)
    (root / "strange/images").mkdir(parents=True)
    with pytest.raises(ValueError, match="was made with the settings None"):
        translate(root, root / "strange")
    (root / "out/manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="no manifest"):
        translate(root, root / "out")


def test_jpeg_and_missing_references(street):
    root = street[0]
    translate(root, root / "out", jpeg_quality=90)
    assert sorted(p.suffix for p in (root / "out/images").rglob("*.*")) == [".jpg"] * 5
    with pytest.raises(ValueError, match="borrows from target images"):
        translate_images(
            images=files(root), references={}, translator=LabTranslator(), out=root / "none"
        )


def test_colors_alone_keep_the_originals_lightness(street):
    root = street[0]
    translate(root, root / "out", ColorTranslator(LabTranslator()))
    manifest = json.loads((root / "out/manifest.json").read_text())
    assert manifest["settings"]["keep_lightness"] is True
    for name, entry in manifest["images"].items():
        image = cv2.imread(str(files(root)[name]))
        full = match_lab_statistics(image, cv2.imread(str(targets(root)[entry["reference"]])))
        found = cv2.imread(str(root / "out" / entry["file"]))
        assert np.array_equal(found, keep_lightness(full, image))
        assert not np.array_equal(found, full)
    with pytest.raises(ValueError, match="was made with the settings"):
        translate(root, root / "out", LabTranslator())


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["translate_dataset.py", *map(str, arguments)])
    monkeypatch.setenv("LOCAL_RANK", "0")
    runpy.run_path(str(ROOT / "tools/translate_dataset.py"), run_name="__main__")


@pytest.mark.parametrize("keeps_lightness", [False, True])
def test_tool_translates_what_a_config_names(street, monkeypatch, capsys, keeps_lightness):
    root, source, target = street
    config = root / "config.py"
    Config(
        dict(
            train_dataloader=dict(
                dataset=dict(type="TwoDomainDataset", source=source, target=target)
            )
        )
    ).dump(str(config))
    options = ["--band", 0.1, *(["--keep-lightness"] if keeps_lightness else [])]
    run_tool(monkeypatch, config, "fourier", "--out", root / "tool", *options)
    assert "5 images, 0 of them were there already" in capsys.readouterr().out
    translator = FourierTranslator(band=0.1)
    translate(
        root, root / "library", ColorTranslator(translator) if keeps_lightness else translator
    )
    assert contents(root / "tool") == contents(root / "library")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pth"], "nothing.pth is neither a file nor a translator without training"),
        (["lab", "--band", "0.1"], "--band is an option of fourier"),
        (["lab", "--tile", "64"], "--tile is an option of trained translators"),
        (["fourier", "--jpeg-quality", "0"], "--jpeg-quality must be in 1..100"),
    ],
)
def test_tool_refuses_what_does_not_fit(tmp_path, monkeypatch, capsys, arguments, message):
    config = tmp_path / "config.py"
    Config(dict()).dump(str(config))
    with pytest.raises((SystemExit, FileNotFoundError)) as error:
        run_tool(monkeypatch, config, *arguments, "--out", tmp_path / "out")
    assert message in capsys.readouterr().err + str(error.value)
    assert not (tmp_path / "out").exists()
