"""What passes through a part of a network."""


class Counting:
    """Counts the images that pass a module."""

    def __init__(self, module):
        self.images, forward = 0, module.forward

        def counted(x):
            self.images += len(x)
            return forward(x)

        module.forward = counted
