"""stub"""

__all__ = []


def on_both(transform, image, target, rng):
    return transform(image, target, rng)
