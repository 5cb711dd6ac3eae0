"""The table of operator cases: every row is tested with static and with symbolic shapes."""

from tests.ops.algebra import CONSTANT, GEMMS, LIVE, MATMULS
from tests.ops.case import Case
from tests.ops.features import FEATURES
from tests.ops.functions import SOFTMAX, UNARY
from tests.ops.moving import COPIES, JOINS, PADS, REDUCTIONS, RESHAPES, SLICES
from tests.ops.norms import NORMALISED
from tests.ops.routes import ROUTES
from tests.ops.sampled import SAMPLED
from tests.ops.scaling import BATCH_NORMS, BLOCKS, LP_POOLS, LRN, RESIZES
from tests.ops.windows import AVERAGE_POOLS, CONVOLUTIONS, MAX_POOLS, TRANSPOSED

CASES: tuple[Case, ...] = (
    *CONVOLUTIONS,
    *TRANSPOSED,
    *MAX_POOLS,
    *AVERAGE_POOLS,
    *LP_POOLS,
    *LRN,
    *BATCH_NORMS,
    *RESIZES,
    *BLOCKS,
    *GEMMS,
    *MATMULS,
    *CONSTANT,
    *LIVE,
    *JOINS,
    *SLICES,
    *PADS,
    *RESHAPES,
    *COPIES,
    *REDUCTIONS,
    *UNARY,
    *SOFTMAX,
    *NORMALISED,
    *ROUTES,
    *FEATURES,
    *SAMPLED,
)

NAMES = [case.name for case in CASES]
assert len(set(NAMES)) == len(NAMES), "two cases share a name"
