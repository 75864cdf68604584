import pytest
import torch
from tiny_adaptor import batch, build_drsl_segmentor


def test_gradients_reach_every_parameter():
    model = build_drsl_segmentor()
    losses = model.loss(**model.data_preprocessor(batch("source", "source"), True))
    total, log = model.parse_losses(losses)
    total.backward()
    assert set(log) == {"loss", "decode.loss_ce", "decode.acc_seg", "decode.loss_mode_metric"}
    assert log["decode.loss_mode_metric"] > 0
    assert log["loss"].item() == pytest.approx(
        (log["decode.loss_ce"] + log["decode.loss_mode_metric"]).item()
    )
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_metric_weight():
    values = []
    for weight in (0.1, 0.5):
        model = build_drsl_segmentor(metric_weight=weight)
        data = model.data_preprocessor(batch("source", "source"), True)
        torch.manual_seed(1)
        values.append(model.loss(**data)["decode.loss_mode_metric"])
    torch.testing.assert_close(values[1], 5 * values[0])


def test_predictions_are_the_wrapped_heads():
    model = build_drsl_segmentor().eval()
    wrapper = model.decode_head
    data = model.data_preprocessor(batch("source", "source"), False)
    found = model.predict(**data)
    logits = model(data["inputs"])
    model.decode_head = wrapper.decode_head
    expected = model.predict(**model.data_preprocessor(batch("source", "source"), False))
    torch.testing.assert_close(logits, model(data["inputs"]))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)
    for name in ("align_corners", "num_classes", "out_channels", "threshold", "ignore_index"):
        assert getattr(wrapper, name) == getattr(wrapper.decode_head, name)


def test_class_numbers_must_agree():
    with pytest.raises(ValueError, match=r"num_classes=3 and mmdl_head num_classes=4"):
        build_drsl_segmentor(mmdl_classes=4)
