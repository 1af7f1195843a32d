"""What NVIDIA publishes about the ONNX parser of each TensorRT: opsets and operators. Data, with its source.

The tables are ``docs/operators.md`` of github.com/onnx/onnx-tensorrt at 8.5, 9.2 and 10.15, and ``docs/Changelog.md``
there for what came in between (8.6, 10.0 to 10.14); opset 9 to 20 is said of 10.0. Only names that the tables do not
support are kept: fewer, and a name in no table is unknown rather than supported.
"""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, ...]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Parser:
    """The parser of a TensorRT.

    Attributes
    ----------
    opset : (int, int)
        Oldest and newest ONNX opset that it is documented for.
    unsupported : frozenset of str
        Operators that its table lists as not supported.
    source : str
        Where that is written.
    """

    opset: tuple[int, int]
    unsupported: frozenset[str]
    source: str


_NEVER = _names(
    "Bernoulli BitShift Compress ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear MatMulInteger MaxRoiPool "
    "MaxUnpool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement "
    "QLinearConv QLinearMatMul SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer TfIdfVectorizer Unique"
)
"""Not supported in any of the tables."""

_LATER = _names(
    "AffineGrid BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im ImageDecoder RegexFullMatch "
    "StringConcat StringSplit"
)
"""Newer operators that 10.15 lists as not supported, and older tables do not know."""

_WINDOWS = {"BlackmanWindow", "HammingWindow", "HannWindow"}  # 10.4
_ATTENTION = {"Attention", "RMSNormalization", "RotaryEmbedding", "TensorScatter"}  # 10.14 and 10.15
_OLD = _NEVER | _LATER | _ATTENTION | {"CastLike", "DeformConv", "Gelu", "Mish", "STFT", *_WINDOWS}
_TABLE = "github.com/onnx/onnx-tensorrt docs/operators.md"
_LOG = "docs/Changelog.md"

PARSERS: dict[Version, Parser] = {
    (8, 5): Parser(
        (7, 17),
        _OLD | {"GroupNormalization", "Hardmax", "IsInf", "LayerNormalization"},
        f"{_TABLE} at 8.5; the oldest opset is not given there",
    ),
    (8, 6): Parser((7, 17), _OLD | {"Hardmax"}, f"{_TABLE} at 8.5 and {_LOG} of 8.6"),
    (10, 0): Parser((9, 20), _OLD - {"CastLike"}, f"{_TABLE} at 9.2 and {_LOG}; opsets of 10.0"),
    (10, 1): Parser((9, 20), _OLD - {"CastLike", "DeformConv"}, f"{_TABLE} at 9.2 and {_LOG} of 10.1"),
    (10, 4): Parser((9, 20), _OLD - {"CastLike", "DeformConv"} - _WINDOWS, f"{_TABLE} at 9.2 and {_LOG} of 10.4"),
    (10, 5): Parser(
        (9, 20), _OLD - {"CastLike", "DeformConv", "STFT"} - _WINDOWS, f"{_TABLE} at 9.2 and {_LOG} of 10.5"
    ),
    (10, 15): Parser((9, 24), _NEVER | _LATER, f"{_TABLE} at 10.15"),
}
"""From each version on, until the next."""

KNOWN = _names(
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip "
    "Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout "
    "Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity If ImageScaler "
    "InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul "
    "Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad "
    "ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range "
    "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round ScaledTanh Scan Scatter ScatterElements "
    "ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt "
    "Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor"
)
"""Supported by every table from 8.5 on."""

DLA = _names(
    "Abs Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose Equal Gemm LeakyRelu LRN MatMul "
    "Max MaxPool Mul PRelu Relu Reshape Resize Sigmoid Slice Softmax Sub Sum Tanh Transpose Upsample"
)
"""Native on Orin's DLA through TensorRT 8.6 (operators.md of NVIDIA's Deep-Learning-Accelerator-SW). The rest runs on
the GPU, where the builder may put it."""


def parser_of(version: Version) -> Parser | None:
    """The parser of a TensorRT version; None where it is older than 8.5."""
    known = [since for since in PARSERS if since <= version]
    return PARSERS[max(known)] if known else None
