"""Applications built on models: pictures out of networks."""
