"""Layers as ONNX graphs: each gives what the layer gives, by onnx's own evaluator."""

import numpy as np
from each import of_each
from layer_cases import Case, call
from layer_samples import LAYERS
from loss_samples import LOSSES
from onnx_running import assert_runs_alike
from region_samples import POOLS as REGION_POOLS

LEFT_OUT = {info.cls for info in (*LOSSES, *REGION_POOLS)}
CASES = [case for info in LAYERS if info.cls not in LEFT_OUT for case in info.cases]


@of_each(CASES, "cls.__name__")
def test_layer(case: Case):
    arrays = case.draw(np.float32)
    if case.forward is call and not any(0 in x.shape for x in arrays):
        assert_runs_alike(case.build(np.float32), arrays)
