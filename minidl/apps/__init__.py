"""Applications built on models: pictures out of networks, and things found in pictures.

`dream.dream`, `style.stylize`, `fast_style.train`, `upscale.upscale`, `gan.train_gan`,
`vae.train_vae` and `landmarks.train_landmarks` do what the commands `minidl dream`, `style`,
`fast-style`, `upscale`, `gan`, `vae` and `landmarks` do; `detect` has detectors.
"""

from minidl.apps import detect, dream, fast_style, gan, landmarks, style, upscale, vae

__all__ = ["detect", "dream", "fast_style", "gan", "landmarks", "style", "upscale", "vae"]
