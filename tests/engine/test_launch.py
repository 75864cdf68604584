"""Which checkpoint a run begins with."""

import shutil

import pytest
import torch
from mmengine.config import Config

from mmdrsl.engine.launch import prefer_own_checkpoint


@pytest.mark.parametrize(
    ("has_own", "content", "load_from", "resume"),
    [
        # Its own comes first.
        (
            True,
            dict(state_dict={}, meta=dict(iter=3, epoch=0), message_hub={}),
            "run/iter_3.pth",
            True,
        ),
        (True, dict(state_dict={}), "run/iter_3.pth", True),
        # MMEngine's meaning of both together.
        (False, dict(state_dict={}, meta=dict(iter=3, epoch=0), message_hub={}), "begin.pth", True),
        # Weights alone are no state of a run.
        (False, dict(state_dict={}), "begin.pth", False),
        (False, dict(weight=torch.zeros(1)), "begin.pth", False),
    ],
)
def test_a_resumed_run_prefers_its_own_checkpoint(
    tmp_path, monkeypatch, has_own, content, load_from, resume
):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "begin.pth")
    (tmp_path / "run").mkdir()
    if has_own:
        (tmp_path / "run/last_checkpoint").write_text("run/iter_3.pth")
    cfg = Config(dict(work_dir="run", load_from="begin.pth", resume=True))
    prefer_own_checkpoint(cfg)
    assert (cfg.load_from, cfg.resume) == (load_from, resume)
    # An earlier one of its own is a choice.
    torch.save(dict(state_dict={}, meta=dict(iter=2, epoch=0), message_hub={}), "run/iter_2.pth")
    chosen = Config(dict(work_dir="run", load_from="run/iter_2.pth", resume=True))
    prefer_own_checkpoint(chosen)
    assert (chosen.load_from, chosen.resume) == ("run/iter_2.pth", True)
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        prefer_own_checkpoint(Config(dict(work_dir="new", load_from="none.pth", resume=True)))
    untouched = Config(dict(work_dir="run", load_from="begin.pth", resume=False))
    prefer_own_checkpoint(untouched)
    assert (untouched.load_from, untouched.resume) == ("begin.pth", False)


@pytest.mark.parametrize("keep", [True, False])
def test_a_moved_or_copied_run_goes_on_from_its_own_checkpoint(tmp_path, keep):
    first, moved = tmp_path / "first", tmp_path / "moved"
    for folder in (first, moved):
        folder.mkdir()
        (folder / "last_checkpoint").write_text(str(first / "iter_3.pth"))
        (folder / "iter_3.pth").write_bytes(b"")
    if not keep:
        shutil.rmtree(first)
    cfg = Config(dict(work_dir=str(moved), load_from=None, resume=True))
    prefer_own_checkpoint(cfg)
    assert cfg.load_from == str(moved / "iter_3.pth")
    new = Config(dict(work_dir=str(tmp_path / "new"), load_from=None, resume=True))
    prefer_own_checkpoint(new)
    assert (new.load_from, new.resume) == (None, True)
