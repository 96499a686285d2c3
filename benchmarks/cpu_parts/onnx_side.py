"""ONNX Runtime's side of inference: AlexNet's graph by hand, from bytes to scores. Needs onnxruntime and onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .job import Job, Variant

OPSET, IR = 17, 8
SIZE, K, ALPHA, BETA = 5, 2.0, 1e-4, 0.75


class Graph:
    """Nodes one after another: each `add` takes the value that the last one made."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.weights = dict(weights)
        self.last = "bytes"

    def add(self, op: str, *others: str, **attributes: Any) -> None:
        """A node."""
        made = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *others], [made], **attributes))
        self.last = made

    def constant(self, name: str, value: Sequence[int]) -> str:
        """A shape."""
        self.weights[name] = np.array(value, np.int64)
        return name

    def conv(self, name: str, stride: int, pads: Sequence[int], groups: int) -> None:
        """A convolution and its relu."""
        self.add("Conv", f"{name}.weight", f"{name}.bias", strides=[stride] * 2, pads=pads, group=groups)
        self.add("Relu")

    def lrn(self, channels: int, size: int) -> None:
        """Two groups: the halves as images of their own, which moves nothing. ONNX divides alpha by the size."""
        self.add("Reshape", self.constant(f"halves{size}", [-1, channels // 2, size, size]))
        self.add("LRN", size=SIZE, alpha=ALPHA * SIZE, beta=BETA, bias=K)
        self.add("Reshape", self.constant(f"whole{size}", [-1, channels, size, size]))

    def pool(self) -> None:
        """Windows of 3, 2 apart."""
        self.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2])

    def fc(self, name: str) -> None:
        """A fully connected layer."""
        self.add("Gemm", f"{name}.weight", f"{name}.bias", transB=1)


def alexnet(job: Job, weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The paper's net as it evaluates, without dropout: that is a factor at most."""
    graph = Graph({**weights, "mean": job.mean()})
    size = (job.image[1] + 3 - 11) // 4 + 1  # of maps that conv1 makes; each pool halves it
    graph.add("Cast", to=TensorProto.FLOAT)
    graph.add("Sub", "mean")
    for name, stride, pads, groups in (("conv1", 4, [0, 0, 3, 3], 1), ("conv2", 1, [2] * 4, 2)):
        graph.conv(name, stride, pads, groups)
        graph.lrn(len(weights[f"{name}.bias"]), size)
        graph.pool()
        size = (size - 1) // 2
    for name, groups in (("conv3", 1), ("conv4", 2), ("conv5", 2)):
        graph.conv(name, 1, [1] * 4, groups)
    graph.pool()
    graph.add("Flatten")
    for name in ("fc6", "fc7"):
        graph.fc(name)
        graph.add("Relu")
    graph.fc("fc8")
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in graph.weights.items()]
    given = helper.make_tensor_value_info("bytes", TensorProto.UINT8, [job.batch, *job.image])
    made = helper.make_tensor_value_info(graph.last, TensorProto.FLOAT, [job.batch, job.classes])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "alexnet", [given], [made], values),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
    )  # fmt: skip
    return model.SerializeToString()  # type: ignore[no-any-return]


class OnnxSide:
    """A session. ONNX Runtime trains nothing."""

    def __init__(self, job: Job, variant: Variant) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
        file = Path(job.start).with_suffix(".onnx")
        if not file.exists():  # by the process whose results are looked at: that whose memory is, finds a file
            with np.load(job.start) as start:
                file.write_bytes(alexnet(job, {name: start[name] for name in start.files}))
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def feed(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """The batch that follows."""
        self._images = images

    def predict(self) -> NDArray[np.float32]:
        """Scores [n, classes]."""
        return self._session.run(None, {"bytes": self._images})[0]  # type: ignore[no-any-return]
