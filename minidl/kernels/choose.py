"""Which algorithm computes a convolution: one place, by shape, with what was measured.

Milliseconds of 3x3 convolutions of stride 1, float32, two threads of an AVX-512 machine whose FMA
peak was 236 GFLOP/s in the same run, forward / input gradient / weight gradient, by
`python -m benchmarks.kernels 3x3 --sides minidl "minidl direct"`:

    images x size, channels     direct               F(4x4, 3x3)
    8 x 56, 64 to 64            8.1 / 8.2 / 8.7      2.9 / 3.3 / 3.4
    8 x 28, 128 to 128          7.8 / 7.8 / 8.7      2.7 / 2.9 / 3.1
    8 x 14, 256 to 256          7.6 / 7.9 / 9.1      3.9 / 4.1 / 4.1
    8 x 7, 512 to 512           7.7 / 7.9 / 9.4      4.9 / 5.5 / 6.1
    128 x 16, 32 to 32          2.6 / 2.7 / 3.0      1.5 / 1.6 / 1.8
    128 x 32, 16 to 16          2.7 / 2.8 / 3.1      2.7 / 3.0 / 3.0

Winograd's F(4x4, 3x3) has a quarter of the multiplications, but its transforms grow with the
channels and its products with their square: it pays from about FEWEST_CHANNELS on both sides, and
where there are tiles enough to fill a register tile of each product. F(2x2, 3x3) is for those who
want its smaller rounding errors. A 1x1 convolution of stride 1 is one matrix product over all
pixels; in a compiled model, which keeps packed weights, one with large weights goes the direct way,
whose product doesn't pack them (from 256 to 512 channels on 10 to 20 % faster on two threads).
Groups of one channel are a depthwise convolution; groups of two to eight share vectors. Unrolling
(im2col) loses everywhere: it is here to be read and to be compared with.
"""

from minidl.config import config
from minidl.geometry import Padding, Pair
from minidl.kernels.simd import LANES
from minidl.recording import here

__all__ = [
    "DEPTHWISE",
    "DIRECT",
    "GEMM",
    "GROUPED",
    "IM2COL",
    "WINOGRAD",
    "algorithm",
    "keeps_weights",
    "winograd_size",
]

GEMM, DIRECT, IM2COL, WINOGRAD = "gemm", "direct", "im2col", "winograd"
DEPTHWISE, GROUPED = "depthwise", "grouped"

FEWEST_CHANNELS = 32
FEWEST_TILES = 24
LARGE_WEIGHTS = 256 * 512  # of a 1x1 convolution: packing them costs
FEWEST_TILES_KEPT = 12  # where transformed weights are kept, in a compiled model


def algorithm(
    images: int, output_size: Pair, weight_shape: tuple[int, ...], stride: Pair, padding: Padding,
    dilation: Pair, groups: int,
) -> str:  # fmt: skip
    """The name of the algorithm for a convolution, or one of its gradients.

    What `md.config.convolution` asks for, where it takes the shape.
    """
    kh, kw, c, k = weight_shape
    chosen = config.convolution
    plain = stride == dilation == (1, 1) and groups == 1
    if chosen == "im2col":
        return IM2COL
    if groups > 1 and c == 1:
        return DEPTHWISE  # a channel for each group, also with several filters
    if groups > 1 and chosen != "direct" and _share_a_vector(c, k, groups):
        return GROUPED
    if plain and (kh, kw) == (1, 1) and padding == ((0, 0), (0, 0)):
        return DIRECT if keeps_weights() and c * k >= LARGE_WEIGHTS else GEMM
    if plain and (kh, kw) == (3, 3) and chosen != "direct":
        tiles = images * -(-output_size[0] // 4) * -(-output_size[1] // 4)
        fewest = FEWEST_TILES_KEPT if keeps_weights() else FEWEST_TILES
        pays = min(c, k) >= FEWEST_CHANNELS and tiles >= fewest
        if chosen in ("winograd", "winograd2") or pays:
            return WINOGRAD
    return DIRECT


def _share_a_vector(c: int, k: int, groups: int) -> bool:
    """Whether there are several groups in a vector of channels, of float64 too, as in ResNeXt."""
    return c * groups == k and c in (2, 4, 8) and c <= LANES[8] and k >= LANES[4]


def keeps_weights() -> bool:
    """Whether what is made of weights now will be there when the call is replayed."""
    return here.keeps_weights


def winograd_size() -> int:
    """m of F(m x m, 3x3)."""
    return 2 if config.convolution == "winograd2" else 4
