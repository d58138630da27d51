"""Graph passes, in the order in which they run, each with the reason for its place."""

from __future__ import annotations

from typing import Final

from edgecv_converters.passes.attach_quantization import AttachQuantization
from edgecv_converters.passes.base import BrokenPassError, Pass, PassContext, run
from edgecv_converters.passes.bind_bias import BindBias
from edgecv_converters.passes.carry_quantization import CarryQuantization
from edgecv_converters.passes.check_supported import CheckSupported
from edgecv_converters.passes.drop_noops import DropNoOps
from edgecv_converters.passes.fold_batch_norm import FoldBatchNorm
from edgecv_converters.passes.fold_moves import FoldMoves
from edgecv_converters.passes.fuse_clamp import FuseClamp
from edgecv_converters.passes.fuse_gelu import FuseGelu
from edgecv_converters.passes.fuse_layer_norm import FuseLayerNorm
from edgecv_converters.passes.quantized_constants import AbsorbConstants

__all__ = ["PIPELINE", "READING", "BrokenPassError", "Pass", "PassContext", "run"]

#: Passes that only make explicit what the file says; every target runs them.
READING: Final[tuple[Pass, ...]] = (
    # first: an Identity between an operator and its QuantizeLinear would hide the pair
    DropNoOps(),
    # before activations: what is left afterwards quantizes something that is computed
    AbsorbConstants(),
    # before fusions: they must not reach across a rounding
    AttachQuantization(),
)

#: Passes of targets that are lowered operator by operator.
PIPELINE: Final[tuple[Pass, ...]] = (
    *READING,
    # before whatever looks for a constant behind an operator
    FoldMoves(),
    # before biases and whatever else claims an addition: its last one is no bias of a product
    FuseLayerNorm(),
    # likewise: one of its operators is an addition
    FuseGelu(),
    # before clamps: MatMul, Add, Relu is one fully connected operator
    BindBias(),
    # after biases, which it scales; before clamps, which apply to what it makes
    FoldBatchNorm(),
    # after biases: a clamp applies to the sum
    FuseClamp(),
    # after clamps: a clamp that stayed inside an operator may leave its grid
    CarryQuantization(),
    # last: it judges the graph that will be lowered
    CheckSupported(),
)
