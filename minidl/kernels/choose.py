"""Which algorithm computes a convolution: one place, by shape, with what was measured.

Milliseconds of 3x3 convolutions of stride 1, float32, two threads of an AVX-512 machine whose FMA
peak is about 2 x 117 GFLOP/s, forward / input gradient / weight gradient:

    images x size, channels     direct               F(4x4, 3x3)
    8 x 56, 64 to 64            8.3 / 8.2 / 9.2      3.9 / 3.3 / 4.2
    8 x 28, 128 to 128          8.2 / 8.1 / 8.9      3.3 / 3.3 / 3.2
    8 x 14, 256 to 256          7.9 / 7.8 / 9.3      4.9 / 4.4 / 4.5
    8 x 7, 512 to 512           7.8 / 8.3 / 11.1     8.2 / 8.8 / 6.4
    64 x 32, 32 to 32           5.6 / 6.2 / 6.7      3.1 / 3.9 / 3.8
    128 x 32, 16 to 16          3.5 / 3.5 / 5.4      3.9 / 3.9 / 4.0
    2 x 13, 20 to 33            0.04 / 0.05 / 0.05   0.07 / 0.08 / 0.08

Winograd's F(4x4, 3x3) has a quarter of the multiplications, but its transforms grow with the
channels and its products with their square: it pays from about FEWEST_CHANNELS on both sides, and
where there are tiles enough to fill a register tile of each product. F(2x2, 3x3) is for those who
want its smaller rounding errors. A 1x1 convolution of stride 1 is one matrix product over all
pixels. Unrolling (im2col) loses everywhere: it is here to be read and to be compared with.
"""

from minidl.config import config
from minidl.geometry import Padding, Pair

__all__ = [
    "DIRECT", "FEWEST_CHANNELS_OF_GRADIENT", "GEMM", "IM2COL", "WINOGRAD", "algorithm",
    "winograd_size",
]  # fmt: skip

GEMM, DIRECT, IM2COL, WINOGRAD = "gemm", "direct", "im2col", "winograd"

FEWEST_CHANNELS = 16
FEWEST_CHANNELS_OF_GRADIENT = 32  # of the weights
FEWEST_TILES = 24


def algorithm(
    images: int, output_size: Pair, weight_shape: tuple[int, ...], stride: Pair, padding: Padding,
    dilation: Pair, groups: int, fewest_channels: int = FEWEST_CHANNELS,
) -> str:  # fmt: skip
    """The name of the algorithm for a convolution, or one of its gradients.

    What `md.config.convolution` asks for, where it takes the shape.
    fewest_channels: on both sides, from which Winograd pays.
    """
    kh, kw, c, k = weight_shape
    chosen = config.convolution
    plain = stride == dilation == (1, 1) and groups == 1
    if chosen == "im2col":
        return IM2COL
    if plain and (kh, kw) == (1, 1) and padding == ((0, 0), (0, 0)):
        return GEMM
    if plain and (kh, kw) == (3, 3) and chosen != "direct":
        tiles = images * -(-output_size[0] // 4) * -(-output_size[1] // 4)
        pays = min(c, k) >= fewest_channels and tiles >= FEWEST_TILES
        if chosen in ("winograd", "winograd2") or pays:
            return WINOGRAD
    return DIRECT


def winograd_size() -> int:
    """m of F(m x m, 3x3)."""
    return 2 if config.convolution == "winograd2" else 4
