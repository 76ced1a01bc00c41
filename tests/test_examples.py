"""Every script in examples/ runs as a reader would run it, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def check_autograd(out):
    assert "y = 12, dy/dx0 = 4.0, dy/dx1 = 3.0" in out
    forward, backward = out.split("forward\n")[1].split("backward\n")
    assert re.findall(r"  ran (\w+)", forward) == ["relu", "multiply", "sum"]
    assert re.findall(r"  ran (\w+)", backward)
    assert "x.grad = [2. 0. 2.]" in out
    losses = [float(number) for number in re.findall(r"^step +\d+  loss (\S+)", out, re.M)]
    shares = [float(number) for number in re.findall(r"accuracy (\S+)$", out, re.M)]
    assert len(losses) == len(shares) == 4
    assert losses == sorted(losses, reverse=True)
    assert shares[-1] > 0.95 > shares[0]
    assert "gradcheck: the tape agrees with finite differences" in out
    assert "x**3 at 3: first derivative 27, second 18" in out


def check_lenet(out):
    assert "61,706 parameters" in out
    assert "(c1): Conv2d(1, 6" in out
    epochs = re.findall(r"^epoch +(\d+)  loss (\S+)  test accuracy (\S+)$", out, re.M)
    assert [int(epoch) for epoch, _, _ in epochs] == [1, 2, 3, 4]
    assert float(epochs[-1][2]) > 0.9
    assert float(epochs[-1][1]) < float(epochs[0][1])


def check_features(out):
    assert "500 images to train on, 355 to test on" in out
    assert "training.h5: 500 rows of 400 float32" in out
    assert "test.h5: 355 rows of 400 float32" in out
    tried = re.findall(r"^strength +(\S+)  held-out accuracy (\S+)(  <- chosen)?$", out, re.M)
    assert len(tried) == 7
    assert sum(bool(chosen) for _, _, chosen in tried) == 1
    rank1, rank2 = (float(share) for share in re.findall(r"^rank-\d accuracy (\S+)$", out, re.M))
    assert 0.9 < rank1 < rank2 <= 1
    matrix = out.split("truth \\ guess\n")[1].split("class ")[0]
    cells = np.array(re.findall(r"\d+", matrix), int).reshape(10, 10)
    assert cells.sum() == 355
    assert round(rank1 * 355) == np.trace(cells)
    assert f"accuracy {rank1:.4f}, {np.trace(cells)} of 355" in out


def check_finetune(out):
    assert "new head: classifier.2; 61,706 parameters in all" in out
    assert "frozen: features.0\n" in out
    assert re.findall(r"^  lr (\S+) for", out, re.M) == ["0.002", "0.0002"]
    found = re.findall(r"^(\S.+?)  +(\S+) parameters trained .* accuracy (\S+)$", out, re.M)
    assert [name for name, _, _ in found] == ["warm-up", "fine-tuned", "from scratch"]
    assert [count for _, count, _ in found] == ["59,134", "61,550", "61,706"]
    shares = [float(share) for _, _, share in found]
    assert min(shares[:2]) > 0.8
    assert min(shares[:2]) > shares[2] + 0.04


def check_hdf5(out):
    rows, size, cache = (
        int(number.replace(",", ""))
        for number in re.findall(r"^digits.h5: (\S+) rows, (\S+) bytes, cache (\S+) b", out, re.M)[
            0
        ]
    )
    assert rows == 8000
    assert size > 1024 * rows > 3 * cache
    images, peak = re.findall(r"^an epoch of (\S+) images took at most (\S+) bytes", out, re.M)[0]
    assert images == "8,000"
    assert cache < int(peak.replace(",", "")) < size
    losses = [float(number) for number in re.findall(r"^epoch +\d  loss (\S+)", out, re.M)]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert float(re.findall(r"^test accuracy (\S+)$", out, re.M)[0]) > 0.75


def check_ensemble(out):
    found = dict(re.findall(r"^(\S.*?) +test accuracy (\S+)$", out, re.M))
    assert list(found) == ["member 1", "member 2", "member 3", "average", "vote"]
    shares = {name: float(share) for name, share in found.items()}
    members = [shares[name] for name in found if name.startswith("member")]
    assert min(shares["average"], shares["vote"]) > sum(members) / 3 > 0.5
    counts = re.findall(r"^mistakes of each: (\d+), (\d+), (\d+)$", out, re.M)[0]
    assert [round((1 - share) * 355) for share in members] == [int(count) for count in counts]
    (shared,) = re.findall(r"^of all three at once: (\d+) of 355 images$", out, re.M)
    assert int(shared) < min(map(int, counts))


def check_dream(out):
    assert "the picture has 96 x 256 pixels" in out
    pairs = re.findall(r"the objective (?:goes|grows) from (\S+) to (\S+)$", out, re.M)
    assert len(pairs) == 4
    assert all(float(before) < float(after) for before, after in pairs)
    assert 1 < float(re.findall(r"a pixel changes by (\S+) of 255", out)[0]) < 60


def check_style(out):
    assert "content (64, 96), style (64, 96)" in out
    assert float(re.findall(r"moved, it differs by (\S+)$", out, re.M)[0]) < 1e-6
    before, after = re.findall(r"texture alone: the loss falls from (\S+) to (\S+)$", out, re.M)[0]
    assert float(after) < 0.01 * float(before)
    terms = re.findall(r"^(\w+): (\S+) for noise, (\S+) at the end$", out, re.M)
    assert [name for name, _, _ in terms] == ["content", "style", "tv", "total"]
    assert float(terms[-1][2]) < 0.1 * float(terms[-1][1])


def check_upscale(out):
    found = re.findall(r"^(\w+): (\S+) dB, SSIM (\S+)$", out, re.M)
    assert [name for name, _, _ in found] == ["repeated", "bicubic", "ESPCN"]
    decibels, likeness = ([float(row[i]) for row in found] for i in (1, 2))
    assert decibels[0] < decibels[1] < decibels[2] - 1
    assert likeness == sorted(likeness)
    assert "give (1, 52, 52, 9): the margin of 4" in out


def check_gan(out):
    assert "generator: " in out
    rows = re.findall(r"^epoch (\d): .* right for (\d+)%; samples vary (\d+)% as", out, re.M)
    assert [epoch for epoch, _, _ in rows] == ["1", "2", "3"]
    assert all(30 < int(right) <= 100 for _, right, _ in rows)
    samples = [f"samples-000{i}.png" for i in (1, 2, 3)]
    assert f"written: {', '.join(['curves.png', *samples, 'walk.png'])}" in out


def check_detection(out):
    assert "48 pictures, 96 boxes of red, green" in out
    assert "584 priors, the first of 4.5 pixels" in out
    losses = re.findall(r"^epoch +(\d+): class (\S+), box (\S+)$", out, re.M)
    assert [int(epoch) for epoch, _, _ in losses] == [5, 10, 15]
    assert float(losses[-1][1]) < float(losses[0][1])
    assert float(re.findall(r"^test pictures: mAP (\S+)$", out, re.M)[0]) > 0.5
    assert "written: found.png, squares.h5" in out


def check_faces(out):
    assert "60 x 80 pixels give 25 x 35 windows of 12 x 12" in out
    assert float(re.findall(r"differs by (\S+)$", out, re.M)[0]) < 1e-5
    counts = re.findall(r"^([PRO]Net): +(\S+) parameters, +(\S+) multiplications", out, re.M)
    assert [count for _, count, _ in counts] == ["6,632", "101,468", "389,040"]
    assert "of 4 boxes, those kept are [1, 3]" in out


def check_landmarks(out):
    found = re.findall(r"^(\w[\w ]*): RMSE (\S+) pixels, NME (\S+)$", out, re.M)
    assert [name for name, _, _ in found] == ["mean shape", "heatmap", "direct"]
    mean, heatmap, direct = (float(nme) for _, _, nme in found)
    assert heatmap < 0.5 * mean
    assert heatmap < direct < mean
    off, guess = re.findall(r"^angle: (\S+) degrees off, the mean (\S+)$", out, re.M)[0]
    assert float(off) < 0.6 * float(guess)


def check_go(out):
    assert "white's stone at B3 was taken: True" in out
    counts = dict(re.findall(r"^ *(\d+) points: (.*)$", out, re.M)[i][::-1] for i in range(13))
    assert counts["stones of the player to move"] == "2"
    assert counts["stones of the opponent"] == "4"
    assert counts["empty points"] == "19"
    assert "23,897 parameters" in out


def check_captions(out):
    assert "known: a, cats, dog, on, sofa, the" in out
    assert "['cats', 'on', 'a', 'red', 'sofa'] is [1, 5, 7, 4, 3, 8, 2]" in out
    assert "scores of each next word: (1, 6, 10)" in out
    assert "which sum to 1.000; next words: (1, 10)" in out
    # 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, no four in a row
    assert "BLEU-1 to 4: 83.3, 70.7, 50.0, 0.0" in out


# Script -> arguments that make it short, and what to look for in its output
EXAMPLES = {
    "01_autograd.py": ([], check_autograd),
    "02_lenet.py": (["4"], check_lenet),
    "03_features.py": ([], check_features),
    "04_finetune.py": (["6"], check_finetune),
    "05_hdf5.py": (["8"], check_hdf5),
    "06_ensemble.py": ([], check_ensemble),
    "07_dream.py": ([], check_dream),
    "08_style.py": ([], check_style),
    "09_upscale.py": ([], check_upscale),
    "10_gan.py": ([], check_gan),
    "11_detection.py": ([], check_detection),
    "12_faces.py": ([], check_faces),
    "13_landmarks.py": ([], check_landmarks),
    "14_captions.py": ([], check_captions),
    "15_go.py": ([], check_go),
}


def test_every_example_has_an_entry():
    assert sorted(EXAMPLES) == SCRIPTS


@pytest.mark.parametrize("script", sorted(EXAMPLES))
def test_example(script, tmp_path):
    arguments, check = EXAMPLES[script]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / script), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert said == []
    check(done.stdout)
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


def test_faces_of_a_photograph(shared_data):
    folder = shared_data / "mtcnn_caffe"
    script = [sys.executable, str(ROOT / "examples/12_faces.py")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    out = subprocess.run(
        [*script, str(folder), str(folder / "test1.jpg")],
        env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    check_faces(out)
    assert re.search(r"^2 faces in \S+test1\.jpg\n  1\.0000 at \[ 89  20 149 101\]", out, re.M)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_begins_with_what_it_shows_and_how_to_run_it(script):
    text = (ROOT / "examples" / script).read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert f"python examples/{script}" in text.split('"""')[1]


def test_a_failing_example_would_be_seen():
    """The checks above are of words; that they can fail is worth knowing."""
    with pytest.raises(AssertionError):
        check_autograd("y = 12, dy/dx0 = 4.0, dy/dx1 = 3.0\nforward\nbackward\n")
    with pytest.raises(AssertionError):
        check_lenet("61,706 parameters\nepoch  1  loss 0.1  test accuracy 0.99\n")
