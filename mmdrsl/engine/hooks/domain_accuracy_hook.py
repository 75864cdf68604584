"""Keeps the gates of adversarial terms: how often their discriminators are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ...models.discriminators import DomainAccuracyGate
from ..source_sample import unwrapped


@HOOKS.register_module()
class DomainAccuracyHook(Hook):
    """After each step writes the accuracy of its batch, averaged over all ranks, into each `DomainAccuracyGate`.

    The term ``NAME`` with a ``gate`` returns ``discriminator_accuracy``; a step without that value (a batch of one
    domain) changes nothing. The rolling accuracy is logged as ``NAME.rolling_accuracy``.
    """

    def before_train(self, runner: Runner) -> None:
        """Tell the gates that they are kept.

        Raises:
            ValueError: No term has a gate.
        """
        gates = [gate for _, gate in self._gates(runner)]
        if not gates:
            raise ValueError(
                "DomainAccuracyHook found no term with a gate; add one, such as FeatureAdaptationTerm with "
                "gate=dict(), or leave the hook out."
            )
        for gate in gates:
            gate.followed = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the gates."""
        for name, gate in self._gates(runner):
            value = (outputs or {}).get(f"{name}.discriminator_accuracy")
            if value is None:
                continue
            accuracy = torch.as_tensor(value, dtype=torch.float32).detach().clone()
            all_reduce(accuracy, op="mean")
            gate.update(float(accuracy))
            runner.message_hub.update_scalar(f"train/{name}.rolling_accuracy", gate.accuracy)

    @staticmethod
    def _gates(runner: Runner) -> Iterator[tuple[str, DomainAccuracyGate]]:
        for name, term in getattr(unwrapped(runner), "terms", {}).items():
            gate = getattr(term, "gate", None)
            if isinstance(gate, DomainAccuracyGate):
                yield name, gate
