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

and two threads of one with AVX2, whose peak is about 190 GFLOP/s:

    8 x 56, 64 to 64            12.1 / 12.6 / 17.9   7.2 / 7.2 / 12.7
    8 x 28, 128 to 128          12.1 / 12.3 / 15.9   6.0 / 6.1 / 9.5
    8 x 14, 256 to 256          11.7 / 12.5 / 21.9   9.6 / 9.8 / 12.0
    8 x 7, 512 to 512           12.9 / 15.6 / 31.0   14.4 / 15.8 / 16.7
    128 x 16, 32 to 32          4.2 / 4.8 / 5.8      3.3 / 3.6 / 5.8
    128 x 32, 16 to 16          5.5 / 5.8 / 6.4      6.2 / 6.8 / 9.1

Winograd's F(4x4, 3x3) has a quarter of the multiplications, but its transforms grow with the
channels and its products with their square: it pays from about FEWEST_CHANNELS on both sides, and
where there are tiles enough to fill a register tile of each product. F(2x2, 3x3) is for those who
want its smaller rounding errors. A 1x1 convolution of stride 1 is one matrix product over all
pixels; in a compiled model, which keeps packed weights, one with large weights goes the direct way,
whose product doesn't pack them (from 256 to 512 channels on 10 to 20 % faster on two threads).
Few channels of outputs, which don't fill a vector, are computed with pixels in the lanes
(`planar.py`). Microseconds, direct / planar, two threads, with ReLU and 2x2 pooling, then without:

    images x size, channels, kernel       AVX-512                  AVX2
    64 x 32, 1 to 6, 5x5                  164 / 105   193 / 128    177 / 138   228 / 159
    64 x 28, 1 to 4, 3x3 padded           260 / 53    108 / 72     247 / 68    98 / 84
    64 x 32, 3 to 6, 5x5                  410 / 226   427 / 249    409 / 358   450 / 366
    4 x 128, 3 to 6, 3x3 padded           355 / 133   293 / 205    364 / 205   315 / 265
    64 x 32, 3 to 12, 3x3 padded          550 / 263   395 / 677
    8 x 64, 16 to 3, 3x3 padded           790 / 527   526 / 467    734 / 460   519 / 390
    64 x 14, 4 to 6, 5x5                  77 / 95     79 / 96      75 / 99     82 / 100

The last line says why short lines of outputs are left to the direct way: a plane's lines are longer
by the kernel's reach.

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
    "PLANAR",
    "WINOGRAD",
    "algorithm",
    "keeps_weights",
    "winograd_size",
]

GEMM, DIRECT, IM2COL, WINOGRAD = "gemm", "direct", "im2col", "winograd"
DEPTHWISE, GROUPED, PLANAR = "depthwise", "grouped", "planar"

FEWEST_CHANNELS = 32
FEW_OUTPUTS = 6  # for planes to pay without pooling
MOST_PLANES = 16  # numbers between the pixels of neighbouring outputs
LONGEST_PLANE_SUM = 4096  # products, which are added up one by one
FEWEST_TILES = 24
LARGE_WEIGHTS = 256 * 512  # of a 1x1 convolution: packing them costs
FEWEST_TILES_KEPT = 12  # where transformed weights are kept, in a compiled model


def algorithm(
    images: int, output_size: Pair, weight_shape: tuple[int, ...], stride: Pair, padding: Padding,
    dilation: Pair, groups: int, itemsize: int, pooled: bool = False,
) -> str:  # fmt: skip
    """Return the name of the algorithm for a convolution, or one of its gradients.

    What `md.config.convolution` asks for, where it takes the shape. pooled: 2x2 in the same pass.
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
    few = LANES[itemsize] - 1  # a full vector's worth of channels wastes no lanes
    few = few if pooled else min(few, FEW_OUTPUTS)
    if groups == 1 and chosen != "direct" and k <= few:
        reach = (kw - 1) * dilation[1] // stride[1]  # outputs' places lost at a line's end
        short = kh * kw * c <= LONGEST_PLANE_SUM
        if short and c * stride[1] <= MOST_PLANES and output_size[1] >= 3 * reach:
            return PLANAR
    return DIRECT


def _share_a_vector(c: int, k: int, groups: int) -> bool:
    """Whether there are several groups in a vector of channels, of float64 too, as in ResNeXt."""
    return c * groups == k and c in (2, 4, 8) and c <= LANES[8] and k >= LANES[4]


def keeps_weights() -> bool:
    """Return whether what is made of weights now will be there when the call is replayed."""
    return here.keeps_weights


def winograd_size() -> int:
    """m of F(m x m, 3x3)."""
    return 2 if config.convolution == "winograd2" else 4
