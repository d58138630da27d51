"""BatchNorm whose statistics can be frozen while the rest of the model trains."""

from __future__ import annotations

from torch import nn

__all__ = ["FreezableBatchNorm2d"]


class FreezableBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that stays in evaluation mode once frozen; same state-dict keys.

    Gamma and beta keep learning. Whether it is frozen is saved with the quantizers, not here, so
    that float checkpoints keep their keys.
    """

    frozen: bool = False

    @classmethod
    def sharing(cls, source: nn.BatchNorm2d) -> FreezableBatchNorm2d:
        """A module that shares parameters and statistics with *source*.

        Only the normalization is taken: timm's BatchNorm classes apply an activation too, which is
        an operator of its own in a captured graph.
        """
        own = cls(source.num_features, source.eps, source.momentum, source.affine)
        own.weight, own.bias = source.weight, source.bias
        own.running_mean, own.running_var = source.running_mean, source.running_var
        own.num_batches_tracked = source.num_batches_tracked
        own.train(source.training)
        return own

    def freeze(self, frozen: bool) -> None:
        """Freeze the statistics at once, or let the next ``train()`` release them."""
        self.frozen = frozen
        if frozen:
            super().train(False)

    def train(self, mode: bool = True) -> FreezableBatchNorm2d:
        """Training mode, unless frozen."""
        super().train(mode and not self.frozen)
        return self
