"""The variational autoencoder: its bound against torch-free closed forms, and training."""

import numpy as np
import pytest
from PIL import Image
from scipy import special, stats

import minidl as md
from minidl.apps import vae
from minidl.data import digits
from minidl.errors import ShapeError


def test_the_bound():
    """Of Bernoulli pixels and two normal distributions, by SciPy's formulas."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((3, 32, 32, 1))
    pictures = random.random((3, 32, 32, 1))
    mean, log_variance = random.standard_normal((2, 3, 2))
    told = -(
        pictures * special.log_expit(logits) + (1 - pictures) * special.log_expit(-logits)
    ).sum()
    apart = 0.0
    for m, v in zip(mean.ravel(), np.exp(log_variance).ravel(), strict=True):
        z = np.linspace(-60, 60, 60001)
        p = stats.norm.pdf(z, m, np.sqrt(v))
        gap = stats.norm.logpdf(z, m, np.sqrt(v)) - stats.norm.logpdf(z)
        apart += np.trapezoid(p * gap, z)  # the Kullback-Leibler divergence, integrated
    found = vae.elbo_loss(tuple(map(md.tensor, (logits, mean, log_variance))), pictures)
    assert found.item() == pytest.approx((told + apart) / 3, rel=1e-6)


def test_training(tmp_path):
    pictures = digits()[0].arrays[0][:64]
    found = vae.train_vae(pictures, tmp_path, epochs=4, batch_size=16, progress=False)
    losses = [row["loss"] for row in found.history]
    assert losses[-1] < 0.9 * losses[0]
    with Image.open(tmp_path / "walk.png") as walk:
        assert walk.size == (480, 480)
    with Image.open(tmp_path / "reconstructions.png") as both:
        assert both.size == (12 * 34 - 2, 2 * 34 - 2)
    again = vae.train_vae(pictures, tmp_path, epochs=4, batch_size=16, progress=False)
    assert again.history == found.history
    fresh = vae.VAE()
    md.load_weights(fresh, tmp_path / "vae.h5")
    with pytest.raises(ShapeError, match="32, 32, 1"):
        vae.train_vae(pictures[:, ::2], tmp_path)


def test_interrupted_in_the_second_epoch(tmp_path, monkeypatch):
    """What the first epoch made is kept; where there is none, nothing is written over."""
    pictures, trained = digits()[0].arrays[0][:64], vae._epoch
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(*arguments)

    monkeypatch.setattr(vae, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vae.train_vae(pictures, tmp_path, epochs=4, batch_size=16, progress=False)
    kept = (tmp_path / "vae.h5").read_bytes()
    assert (tmp_path / "walk.png").exists()
    calls[:] = [1]
    with pytest.raises(KeyboardInterrupt):
        vae.train_vae(pictures, tmp_path, epochs=4, batch_size=16, seed=1, progress=False)
    assert (tmp_path / "vae.h5").read_bytes() == kept
