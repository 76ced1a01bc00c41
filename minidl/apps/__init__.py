"""Applications built on models: pictures out of networks.

`dream.dream`, `style.stylize`, `fast_style.train`, `upscale.upscale`, `gan.train_gan` and
`vae.train_vae` do what the commands `minidl dream`, `style`, `fast-style`, `upscale`, `gan` and
`vae` do. `go` reads games of Go, and plays by the rules.
"""

from minidl.apps import dream, fast_style, gan, go, style, upscale, vae

__all__ = ["dream", "fast_style", "gan", "go", "style", "upscale", "vae"]
