"""The base of this project's hooks: each says what it does before the first round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.hooks import Hook
from mmengine.runner import Runner


class AdaptationHook(Hook):
    """A hook that declares its part in the warm-up, so that methods can share one.

    A subclass must set `acts_in_warmup`. Hooks of other packages say nothing; a run with one has a warm-up of its own.
    """

    acts_in_warmup: ClassVar[bool]
    """Whether the hook has something to do before the first round. It then may depend on the source alone."""

    changes_segmentor: ClassVar[bool] = True
    """Whether what it does in the warm-up may change how the segmentor learns."""

    only_observes: ClassVar[bool] = False
    """Whether a run goes on bit for bit the same without it; hashes of a benchmark's runs leave it out."""

    reads_target: ClassVar[bool] = False
    """Whether it uses the target's images by itself, whatever the batches hold."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a hook that does not say it.

        Raises:
            TypeError: `acts_in_warmup` is missing.
        """
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "acts_in_warmup"):
            raise TypeError(
                f"{cls.__name__} must set acts_in_warmup: True where it acts on the source before the first round, "
                "False where it has nothing to do before that."
            )

    @classmethod
    def allows_shared_warmup(cls, cfg: Mapping[str, Any], steps: int) -> bool:
        """Whether a run with this hook begins like one without it.

        Args:
            cfg: Config of the hook.
            steps: Length of the warm-up.
        """
        return True

    def preflight(self, runner: Runner, model: Any) -> None:
        """Try what the hook will do later in the run; `PreflightHook` calls it before the first step.

        Args:
            runner: The runner, whose model, data and random streams stay as they are.
            model: A copy of its model, which the hook may change.
        """
