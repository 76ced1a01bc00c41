"""Applications built on models: pictures out of networks.

`dream.dream`, `style.stylize`, `upscale.upscale`, `gan.train_gan` and `vae.train_vae` do what the
commands `minidl dream`, `style`, `upscale`, `gan` and `vae` do.
"""

from minidl.apps import dream, gan, style, upscale, vae

__all__ = ["dream", "gan", "style", "upscale", "vae"]
