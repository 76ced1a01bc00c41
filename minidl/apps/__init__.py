"""Applications built on models: pictures out of networks, things found in pictures, and Go.

`dream.dream`, `style.stylize`, `fast_style.train`, `upscale.upscale`, `gan.train_gan` and
`vae.train_vae` do what the commands `minidl dream`, `style`, `fast-style`, `upscale`, `gan` and
`vae` do. `detect` measures detectors, `go` reads games and plays by the rules.
"""

from minidl.apps import detect, dream, fast_style, gan, go, style, upscale, vae

__all__ = ["detect", "dream", "fast_style", "gan", "go", "style", "upscale", "vae"]
