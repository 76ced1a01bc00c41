"""Applications built on models: pictures out of networks, and things found in pictures.

`dream.dream`, `style.stylize`, `fast_style.train`, `upscale.upscale`, `gan.train_gan` and
`vae.train_vae` do what the commands `minidl dream`, `style`, `fast-style`, `upscale`, `gan` and
`vae` do.
"""

from minidl.apps import detect, dream, fast_style, gan, style, upscale, vae

__all__ = ["detect", "dream", "fast_style", "gan", "style", "upscale", "vae"]
