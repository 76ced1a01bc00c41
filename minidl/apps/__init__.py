"""Applications built on models: pictures out of networks, things found in pictures, and Go.

`dream.dream`, `style.stylize`, `fast_style.train`, `upscale.upscale`, `gan.train_gan`,
`vae.train_vae` and `landmarks.train_landmarks` do what the commands `minidl dream`, `style`,
`fast-style`, `upscale`, `gan`, `vae` and `landmarks` do. `detect` has detectors and their figures,
`go` reads games, plays by the rules and as players do, `caption` says what is in images.
"""

from minidl.apps import caption, detect, dream, fast_style, gan, go, landmarks, style, upscale, vae

__all__ = [
    "caption", "detect", "dream", "fast_style", "gan", "go", "landmarks", "style", "upscale", "vae",
]  # fmt: skip
