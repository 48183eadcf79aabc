"""What TensorRT takes, by version: operators, element types, ranks, quantisation. Re-stated from public documentation.

Sources: the operator tables of ONNX-TensorRT (``docs/operators.md``, releases 10.3, 10.16 and 11.4), the developer
guide's chapters on explicit quantisation and DLA. Nobody could run them here: they catch what is known to fail, and
their silence is no proof. ``None`` as a version means all of them.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERSIONS = ("10.3", "10.16", "11.4")
MAX_OPSET = {"10.3": 20, "10.16": 22, "11.4": 22}

OPERATORS = _words(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear
    Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND
    Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Identity If InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max
    MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or
    PRelu Pad Pow QuantizeLinear RNN RandomNormal RandomUniform Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence RoiAlign Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor"""
)
SINCE: dict[str, str] = {}
"""Operators of the list that an older version lacks, with the first that has them."""

QUANTISED_TYPES = frozenset({"INT8"})
"""Element types of Q and DQ that all three versions take; uint8 and int32 (a bias) are refused by the parser."""
INT64_ONLY_FOR_SHAPES = _words(
    "Shape Gather Concat Reshape Slice Squeeze Unsqueeze Expand Constant ConstantOfShape Cast ReduceProd Range Tile "
    "TopK ArgMax ArgMin GatherElements GatherND Mul Add Sub Div Equal Where NonZero Resize Pad Split ReduceMax "
    "ReduceMean ReduceSum OneHot Min Max"
)
MAX_TOPK = 3840
MAX_RANK = 8

DLA_OPERATORS = _words(
    "Conv ConvTranspose Relu Sigmoid Tanh LeakyRelu Clip Add Mul Sub Div Max Min MaxPool AveragePool GlobalAveragePool "
    "Concat Gemm MatMul Resize Softmax ReduceMax Slice Equal PRelu BatchNormalization Identity"
)
"""Layers that the DLA 2.0 of an Orin can run in FP16 or INT8, within limits; HardSwish is not there."""
DLA_MAX_KERNEL, DLA_MAX_STRIDE, DLA_MAX_CHANNELS, DLA_MAX_BATCH = 32, 8, 8192, 4096
DLA_TRANSPARENT = _words("QuantizeLinear DequantizeLinear Cast Constant Reshape Flatten Squeeze Unsqueeze")
"""Nodes that are no layer of their own: Q and DQ fuse, a reshape is a no-op between layers."""
