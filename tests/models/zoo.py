"""What the papers and the libraries say of the networks: parameters and mult-adds."""

# name: (arguments, parameters, mult-adds as exactly as they are known, unit of the last digit)
PUBLISHED = [
    ("lenet5", {}, 61_706, 416_520, 1),
    ("alexnet", {}, 60_965_224, 724_406_816, 1),
    ("alexnet", {"towers": 1}, 62_378_344, None, 1),
    ("zfnet", {}, 107_627_624, None, 1),
    ("vgg11", {}, 132_863_336, 7.61e9, 1e7),
    ("vgg13", {}, 133_047_848, 11.31e9, 1e7),
    ("vgg16c", {}, 133_638_952, None, 1),
    ("vgg16", {}, 138_357_544, 15.47e9, 1e7),
    ("vgg19", {}, 143_667_240, 19.63e9, 1e7),
    ("nin", {}, 7_595_176, None, 1),
    ("nin_cifar", {}, 966_986, None, 1),
    ("googlenet", {}, 6_998_552, 1.58e9, 1e7),
    ("googlenet", {"auxiliary": True}, 13_378_280, None, 1),
    ("resnet18", {}, 11_689_512, 1.81e9, 1e7),
    ("resnet34", {}, 21_797_672, 3.66e9, 1e7),
    ("resnet50", {}, 25_557_032, 4.09e9, 1e7),
    ("resnet101", {}, 44_549_160, 7.80e9, 1e7),
    ("resnet152", {}, 60_192_808, 11.51e9, 1e7),
    ("resnet20", {}, 269_722, None, 1),
    ("resnet32", {}, 464_154, None, 1),
    ("resnet44", {}, 658_586, None, 1),
    ("resnet56", {}, 853_018, None, 1),
    ("resnet110", {}, 1_727_962, None, 1),
    ("densenet121", {}, 7_978_856, 2.83e9, 1e7),
    ("densenet169", {}, 14_149_480, None, 1),
    ("densenet201", {}, 20_013_928, None, 1),
    ("mobilenet_v1", {}, 4_231_976, 569e6, 1e6),
    ("mobilenet_v1", {"width": 0.75}, 2_585_560, 325e6, 1e6),
    ("mobilenet_v1", {"width": 0.5}, 1_331_592, 149e6, 1e6),
    ("mobilenet_v1", {"width": 0.25}, 470_072, 41e6, 1e6),
    ("se_resnet50", {}, 28_088_024, None, 1),
    ("resnext50_32x4d", {}, 25_028_904, None, 1),
    ("se_resnext50_32x4d", {}, 27_559_896, None, 1),
    ("senet154", {}, 115_088_984, None, 1),
    ("squeezenet1_0", {}, 1_248_424, None, 1),
    ("squeezenet1_1", {}, 1_235_496, None, 1),
    ("alphago_policy", {}, 3_882_793, None, 1),
    # torchvision's tables of weights; Lite0's from timm and Tan's repository
    ("mobilenet_v2", {}, 3_504_872, 0.30e9, 1e7),
    ("mobilenet_v3_small", {}, 2_542_856, 0.06e9, 1e7),
    ("mobilenet_v3_large", {}, 5_483_032, 0.22e9, 1e7),
    ("efficientnet_b0", {}, 5_288_548, 0.39e9, 1e7),
    ("efficientnet_b1", {}, 7_794_184, 0.69e9, 1e7),
    ("efficientnet_b2", {}, 9_109_994, 1.09e9, 1e7),
    ("efficientnet_b3", {}, 12_233_232, 1.83e9, 1e7),
    ("efficientnet_b4", {}, 19_341_616, 4.39e9, 1e7),
    ("efficientnet_lite0", {}, 4_652_008, None, 1),
    ("shufflenet_v2", {}, 2_278_604, 0.14e9, 1e7),
    ("shufflenet_v2", {"width": 0.5}, 1_366_792, 0.04e9, 1e7),
    ("shufflenet_v2", {"width": 1.5}, 3_503_624, 0.30e9, 1e7),
    ("shufflenet_v2", {"width": 2.0}, 7_393_996, 0.58e9, 1e7),
    ("regnet_y_400mf", {}, 4_344_144, 0.40e9, 1e7),
    ("convnext_tiny", {}, 28_589_128, 4.46e9, 1e7),
    ("inception_v3", {}, 23_834_568, 5.71e9, 1e7),
    ("inception_v3", {"auxiliary": True}, 27_161_264, None, 1),
    ("xception", {}, 22_910_480 - 54_528, None, 1),  # Keras's count has running statistics in it
    # torchvision's and Keras's own counts for their variants
    ("wide_resnet50_2", {}, 68_883_240, 11.40e9, 1e7),
    ("resnext101_32x8d", {}, 88_791_336, 16.41e9, 1e7),
    ("densenet161", {}, 28_681_000, 7.73e9, 1e7),
    ("vgg11_bn", {}, 132_868_840, None, 1),
    ("vgg13_bn", {}, 133_053_736, None, 1),
    ("vgg16_bn", {}, 138_365_992, None, 1),
    ("vgg19_bn", {}, 143_678_248, None, 1),
    ("googlenet_bn", {"largest_kernel": 3}, 6_624_904, None, 1),
    ("resnet50", {"bias": True}, 25_583_592, None, 1),
    ("resnet101", {"bias": True}, 44_601_832, None, 1),
    ("resnet152", {"bias": True}, 60_268_520, None, 1),
    ("vgg11_lrn", {}, 132_863_336, None, 1),  # as vgg11: table 2 of the paper
]


def _norm(channels):
    return 2 * channels


def _conv(channels, out, size, bias=False):
    return size * size * channels * out + bias * out


def _mini_inception(channels, one, three):
    return _conv(channels, one, 1) + _conv(channels, three, 3) + _norm(one + three)


def _minigooglenet():
    modules = [(96, 32, 32), (64, 32, 48), (160, 112, 48), (160, 96, 64), (160, 80, 80),
               (160, 48, 96), (240, 176, 160), (336, 176, 160)]  # fmt: skip
    count = _conv(3, 96, 3) + _norm(96) + sum(_mini_inception(*m) for m in modules)
    for channels, three in ((80, 80), (144, 96)):
        count += _conv(channels, three, 3) + _norm(three)
    return count + 336 * 10 + 10


def _inception(channels, one, r3, three, r5, five, pool):
    count = _conv(channels, one + r3 + r5 + pool, 1) + _conv(r3, three, 3) + _conv(r5, five, 5)
    return count + _norm(one + r3 + three + r5 + five + pool)


# Table 1 of Szegedy et al.: widths; printed parameters (K = 1024) and mult-adds (M)
INCEPTIONS = {
    "3a": ((192, 64, 96, 128, 16, 32, 32), 159, 128, 28),
    "3b": ((256, 128, 128, 192, 32, 96, 64), 380, 304, 28),
    "4a": ((480, 192, 96, 208, 16, 48, 64), 364, 73, 14),
    "4b": ((512, 160, 112, 224, 24, 64, 64), 437, 88, 14),
    "4c": ((512, 128, 128, 256, 24, 64, 64), 463, 100, 14),
    "4d": ((512, 112, 144, 288, 32, 64, 64), 580, 119, 14),
    "4e": ((528, 256, 160, 320, 32, 128, 128), 840, 170, 14),
    "5a": ((832, 256, 160, 320, 32, 128, 128), 1072, 54, 7),
    "5b": ((832, 384, 192, 384, 48, 128, 128), 1388, 71, 7),
}


def _googlenet_bn(names, stem, classes):
    count = _conv(3, 64, stem) + _conv(64, 64, 1) + _conv(64, 192, 3) + _norm(64 + 64 + 192)
    for name in names.split():
        widths = INCEPTIONS[name][0]
        count += _inception(*widths)
        channels = widths[1] + widths[3] + widths[5] + widths[6]
    return count + channels * classes + classes


def _preact(block, depths, widths, stem, classes):
    """Convolutions, a normalisation before each, a projection where shapes change."""
    count, channels = stem, widths[0]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        out = 4 * width if block == "bottleneck" else width
        for i in range(depth):
            count += _norm(channels)
            if block == "bottleneck":
                count += _conv(channels, width, 1) + _conv(width, width, 3) + _conv(width, out, 1)
                count += 2 * _norm(width)
            else:
                count += _conv(channels, width, 3) + _conv(width, width, 3) + _norm(width)
            if channels != out or (i == 0 and stage > 0):
                count += _conv(channels, out, 1)
            channels = out
    # the stem has the first unit's normalisation
    return count + _norm(channels) + channels * classes + classes


STEM = _conv(3, 64, 7)
CIFAR_STEM = _conv(3, 16, 3)

# Those that no one publishes, added up from the layers by the formulas above
ADDED_UP = [
    ("minigooglenet", {}, _minigooglenet()),
    ("deeper_googlenet", {}, _googlenet_bn("3a 3b 4a 4b 4c 4d 4e", 5, 200)),
    ("googlenet_bn", {}, _googlenet_bn(" ".join(INCEPTIONS), 7, 1000)),
    ("vgg16c_bn", {}, 133_638_952 + sum(2 * c for c in (64,) * 2 + (128,) * 2 + (256,) * 3
                                         + (512,) * 6)),
    ("preact_resnet", {"depth": 18}, _preact("basic", (2, 2, 2, 2), (64, 128, 256, 512), STEM,
                                             1000)),
    ("preact_resnet", {}, _preact("bottleneck", (3, 4, 6, 3), (64, 128, 256, 512), STEM, 1000)),
    ("preact_resnet", {"depth": 200}, _preact("bottleneck", (3, 24, 36, 3), (64, 128, 256, 512),
                                              STEM, 1000)),
    ("preact_resnet_cifar", {}, _preact("basic", (18,) * 3, (16, 32, 64), CIFAR_STEM, 10)),
    ("preact_resnet_cifar", {"depth": 164, "bottleneck": True},
     _preact("bottleneck", (18,) * 3, (16, 32, 64), CIFAR_STEM, 10)),
    ("plain_cnn", {}, _conv(3, 32, 3, True) + _conv(32, 32, 3, True) + _conv(32, 64, 3, True)
     + _conv(64, 64, 3, True) + 8 * 8 * 64 * 256 + 256 + 256 * 10 + 10),
    ("plain_cnn", {"n": 1, "m": 1, "k": 0, "widths": [5], "input_size": 8},
     _conv(3, 5, 3, True) + 4 * 4 * 5 * 10 + 10),
]  # fmt: skip
