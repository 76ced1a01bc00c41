"""A cascade finds faces: a fast network looks everywhere, slower ones only where it saw something.

    python examples/12_faces.py [WEIGHTS PICTURE]

WEIGHTS is a folder with MTCNN's published weights, det1.caffemodel to det3.caffemodel, PICTURE a
photograph: its faces are told. Without them, the parts of the cascade are shown with random
weights, which find nothing but work alike.
"""

import sys

import numpy as np

import minidl as md
from minidl import ops
from minidl.analysis import summary
from minidl.apps.detect import MTCNN

md.manual_seed(0)
mtcnn = MTCNN.load(sys.argv[1]) if len(sys.argv) > 2 else MTCNN().eval()

# 1. A network that slides by itself -------------------------------------------------------------
#
# P-Net has convolutions only, and sees 12 x 12 pixels. Run on a larger image, it gives a score for
# every second place, the same as if each window were cut out, at a fraction of the cost.

image = np.random.default_rng(0).uniform(-1, 1, (1, 60, 80, 3)).astype(np.float32)
with md.no_grad():
    scores = mtcnn.pnet(image)[0].data  # (1, 25, 35, 2)
    window = mtcnn.pnet(image[:, 14:26, 30:42])[0].data  # (1, 1, 1, 2)
print(f"60 x 80 pixels give {scores.shape[1]} x {scores.shape[2]} windows of 12 x 12")
print(f"the one cut out at (30, 14) differs by {abs(window[0, 0, 0] - scores[0, 7, 15]).max():.1e}")

# 2. What each stage costs -----------------------------------------------------------------------

for network, size in ((mtcnn.pnet, 12), (mtcnn.rnet, 24), (mtcnn.onet, 48)):
    total = summary(network, (1, size, size, 3)).total
    print(
        f"{type(network).__name__}: {network.num_parameters:>7,} parameters, "
        f"{total.mult_adds:>10,} multiplications a window"
    )

# 3. Several windows see each face ---------------------------------------------------------------
#
# Of boxes that overlap, the one with the best score is kept.

boxes = np.float32([[10, 10, 50, 50], [12, 11, 52, 51], [11, 8, 50, 49], [60, 12, 90, 42]])
kept = ops.nms(boxes, np.float32([0.8, 0.9, 0.7, 0.6]), 0.5)
print(f"of {len(boxes)} boxes, those kept are {kept.tolist()}")

# 4. A photograph --------------------------------------------------------------------------------

if len(sys.argv) > 2:
    found = mtcnn.detect(sys.argv[2])
    print(f"{len(found['boxes'])} faces in {sys.argv[2]}")
    for box, score, points in zip(found["boxes"], found["scores"], found["points"], strict=True):
        left, right = points[0].round().astype(int), points[1].round().astype(int)
        print(f"  {score:.4f} at {box.round().astype(int)}, eyes at {left} and {right}")
else:
    print("give a folder with MTCNN's weights and a photograph, and its faces are told")
