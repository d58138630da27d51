"""What the builtin operators of TFLite take: inputs, outputs, options and their ranges.

From ``schema.fbs`` (version 3) and ``tfl_ops.td``, as far as tflite-runtime 2.14 knows them; operators
that came later are checked by the engines that know them. An options table that is missing or of
another operator counts as its defaults, as engines count it: a stride is then 0, which is refused here
and kills a process there (SIGFPE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from edgecv.artifact.flatbuffer import DamageError, Kind, Vector

__all__ = ["OPERATORS", "OPTION_NAMES", "OPTION_SCHEMA", "Rule", "read_options"]

#: Number in BuiltinOptions, table, its fields in the schema's order: name, kind, default where it is not 0.
#: A field written "-" is of no interest. What may stand in a field follows from its name (_RANGES).
_OPTIONS: Final = """
1 Conv2D padding:i8 stride_w:i32 stride_h:i32 activation:i8 dilation_w:i32=1 dilation_h:i32=1
2 DepthwiseConv2D padding:i8 stride_w:i32 stride_h:i32 multiplier:i32 activation:i8 dilation_w:i32=1 dilation_h:i32=1
4 LSHProjection projection:i8
5 Pool2D padding:i8 stride_w:i32 stride_h:i32 filter_w:i32 filter_h:i32 activation:i8
6 SVDF rank:i32 activation:i8 flag_asymmetric:u8
7 RNN activation:i8 flag_asymmetric:u8
8 FullyConnected activation:i8 weights_format:i8 flag_keep_dims:u8 flag_asymmetric:u8
9 Softmax number_beta:f32
10 Concatenation axis:i32 activation:i8
11 Add activation:i8 flag_pot:u8=1
12 L2Norm activation:i8
13 LocalResponseNormalization radius:i32 number_bias:f32 number_alpha:f32 number_beta:f32
14 LSTM activation:i8 number_cell:f32 number_projection:f32 kernel:i8 flag_asymmetric:u8
15 ResizeBilinear - - flag_corners:u8 flag_centers:u8
16 Call graph_called:u32
17 Reshape shape:ints
18 SkipGram count_ngram:i32 number_skip:i32 flag_all:u8
19 SpaceToDepth block:i32
20 EmbeddingLookupSparse combiner:i8
21 Mul activation:i8
23 Gather axis:i32 batch_dims:i32
27 Reducer flag_keep_dims:u8
28 Sub activation:i8 flag_pot:u8=1
29 Div activation:i8
30 Squeeze dims:ints
31 SequenceRNN flag_time:u8 activation:i8 flag_asymmetric:u8
32 StridedSlice begin:i32 end:i32 ellipsis:i32 new_axis:i32 shrink:i32 flag_offset:u8
35 Split count_splits:i32
37 Cast type_in:i8 type_out:i8
40 ArgMax type_out:i8
49 TransposeConv padding:i8 stride_w:i32 stride_h:i32 activation:i8
50 SparseToDense flag_validate:u8
55 Shape type_out:i8
57 ArgMin type_out:i8
58 FakeQuant number_min:f32 number_max:f32 bits:i32 flag_narrow:u8
59 Pack count_values:i32 axis:i32
61 OneHot axis:i32
64 Unpack count_values:i32 axis:i32
69 BidirectionalSequenceLSTM activation:i8 number_cell:f32 number_projection:f32 flag_merge:u8 flag_time:u8=1
70 BidirectionalSequenceRNN flag_time:u8 activation:i8 flag_merge:u8 flag_asymmetric:u8
71 UnidirectionalSequenceLSTM activation:i8 number_cell:f32 number_projection:f32 flag_time:u8
74 ResizeNearestNeighbor flag_corners:u8 flag_centers:u8
75 LeakyRelu number_alpha:f32
77 MirrorPad mode:i8
79 SplitV count_splits:i32
80 Unique type_out:i8=2
87 ReverseSequence dim_sequence:i32 dim_batch:i32
92 If graph_then:i32 graph_else:i32
93 While graph_condition:i32 graph_body:i32
94 DepthToSpace block:i32
101 BatchMatMul flag_x:u8 flag_y:u8 flag_asymmetric:u8
102 Cumsum flag_exclusive:u8 flag_reverse:u8
103 CallOnce graph_init:i32
106 Conv3D padding:i8 stride_d:i32 stride_w:i32 stride_h:i32 activation:i8 dilation_d:i32=1 dilation_w:i32=1 \
    dilation_h:i32=1
107 Hashtable - type_key:i8 type_value:i8
111 VarHandle container:text shared_name:text
115 Bucketize boundaries:floats
116 Gelu flag_approximate:u8
"""

#: Operator in the order of BuiltinOperator, inputs, outputs, options table. "2-3*": what is beyond the lower
#: bound may also be given as left out; "5-24**": any may; "1+": one or more; "?": anything.
_OPERATORS: Final = """
ADD 2 1 Add
AVERAGE_POOL_2D 1 1 Pool2D
CONCATENATION 1+ 1 Concatenation
CONV_2D 2-3* 1 Conv2D
DEPTHWISE_CONV_2D 2-3* 1 DepthwiseConv2D
DEPTH_TO_SPACE 1 1 DepthToSpace
DEQUANTIZE 1 1
EMBEDDING_LOOKUP 2 1
FLOOR 1 1
FULLY_CONNECTED 2-3* 1-2 FullyConnected
HASHTABLE_LOOKUP 3 2
L2_NORMALIZATION 1 1 L2Norm
L2_POOL_2D 1 1 Pool2D
LOCAL_RESPONSE_NORMALIZATION 1 1 LocalResponseNormalization
LOGISTIC 1 1
LSH_PROJECTION 2-3 1 LSHProjection
LSTM 5-24** 1-4 LSTM
MAX_POOL_2D 1 1 Pool2D
MUL 2 1 Mul
RELU 1 1
RELU_N1_TO_1 1 1
RELU6 1 1
RESHAPE 1-2 1 Reshape
RESIZE_BILINEAR 2 1 ResizeBilinear
RNN 5 1 RNN
SOFTMAX 1 1 Softmax
SPACE_TO_DEPTH 1 1 SpaceToDepth
SVDF 5** 1 SVDF
TANH 1 1
CONCAT_EMBEDDINGS ? ?
SKIP_GRAM 1 1 SkipGram
CALL 0+ 0+ Call
CUSTOM ? ?
EMBEDDING_LOOKUP_SPARSE 5 1 EmbeddingLookupSparse
PAD 2 1
UNIDIRECTIONAL_SEQUENCE_RNN 5 1 SequenceRNN
GATHER 2 1 Gather
BATCH_TO_SPACE_ND 3 1
SPACE_TO_BATCH_ND 3 1
TRANSPOSE 2 1
MEAN 2 1 Reducer
SUB 2 1 Sub
DIV 2 1 Div
SQUEEZE 1 1 Squeeze
UNIDIRECTIONAL_SEQUENCE_LSTM 20-24** 1 UnidirectionalSequenceLSTM
STRIDED_SLICE 4 1 StridedSlice
BIDIRECTIONAL_SEQUENCE_RNN 12** 1-2 BidirectionalSequenceRNN
EXP 1 1
TOPK_V2 2 2
SPLIT 2 1+ Split
LOG_SOFTMAX 1 1
DELEGATE ? ?
BIDIRECTIONAL_SEQUENCE_LSTM 48** 1-2 BidirectionalSequenceLSTM
CAST 1 1 Cast
PRELU 2 1
MAXIMUM 2 1
ARG_MAX 2 1 ArgMax
MINIMUM 2 1
LESS 2 1
NEG 1 1
PADV2 3 1
GREATER 2 1
GREATER_EQUAL 2 1
LESS_EQUAL 2 1
SELECT 3 1
SLICE 3 1
SIN 1 1
TRANSPOSE_CONV 3-4* 1 TransposeConv
SPARSE_TO_DENSE 4 1 SparseToDense
TILE 2 1
EXPAND_DIMS 2 1
EQUAL 2 1
NOT_EQUAL 2 1
LOG 1 1
SUM 2 1 Reducer
SQRT 1 1
RSQRT 1 1
SHAPE 1 1 Shape
POW 2 1
ARG_MIN 2 1 ArgMin
FAKE_QUANT 1 1 FakeQuant
REDUCE_PROD 2 1 Reducer
REDUCE_MAX 2 1 Reducer
PACK 1+ 1 Pack
LOGICAL_OR 2 1
ONE_HOT 4 1 OneHot
LOGICAL_AND 2 1
LOGICAL_NOT 1 1
UNPACK 1 1+ Unpack
REDUCE_MIN 2 1 Reducer
FLOOR_DIV 2 1
REDUCE_ANY 2 1 Reducer
SQUARE 1 1
ZEROS_LIKE 1 1
FILL 2 1
FLOOR_MOD 2 1
RANGE 3 1
RESIZE_NEAREST_NEIGHBOR 2 1 ResizeNearestNeighbor
LEAKY_RELU 1 1 LeakyRelu
SQUARED_DIFFERENCE 2 1
MIRROR_PAD 2 1 MirrorPad
ABS 1 1
SPLIT_V 3 1+ SplitV
UNIQUE 1 2 Unique
CEIL 1 1
REVERSE_V2 2 1
ADD_N 1+ 1
GATHER_ND 2 1
COS 1 1
WHERE 1 1
RANK 1 1
ELU 1 1
REVERSE_SEQUENCE 2 1 ReverseSequence
MATRIX_DIAG 1 1
QUANTIZE 1 1
MATRIX_SET_DIAG 2 1
ROUND 1 1
HARD_SWISH 1 1
IF 1+ 0+ If
WHILE 0+ 0+ While
NON_MAX_SUPPRESSION_V4 5 2
NON_MAX_SUPPRESSION_V5 6 3
SCATTER_ND 3 1
SELECT_V2 3 1
DENSIFY 1 1
SEGMENT_SUM 2 1
BATCH_MATMUL 2 1 BatchMatMul
PLACEHOLDER ? ?
CUMSUM 2 1 Cumsum
CALL_ONCE 0 0 CallOnce
BROADCAST_TO 2 1
RFFT2D 2 1
CONV_3D 2-3* 1 Conv3D
IMAG 1 1
REAL 1 1
COMPLEX_ABS 1 1
HASHTABLE 0 1 Hashtable
HASHTABLE_FIND 3 1
HASHTABLE_IMPORT 3 0
HASHTABLE_SIZE 1 1
REDUCE_ALL 2 1 Reducer
CONV_3D_TRANSPOSE 3-4* 1 Conv3D
VAR_HANDLE 0 1 VarHandle
READ_VARIABLE 1 1
ASSIGN_VARIABLE 2 0
BROADCAST_ARGS 2 1
RANDOM_STANDARD_NORMAL 1 1
BUCKETIZE 1 1 Bucketize
RANDOM_UNIFORM 1 1
MULTINOMIAL 2 1
GELU 1 1 Gelu
DYNAMIC_UPDATE_SLICE 3 1
RELU_0_TO_1 1 1
UNSORTED_SEGMENT_PROD 3 1
UNSORTED_SEGMENT_MAX 3 1
UNSORTED_SEGMENT_SUM 3 1
ATAN2 2 1
UNSORTED_SEGMENT_MIN 3 1
SIGN 1 1
BITCAST 1 1
BITWISE_XOR 2 1
RIGHT_SHIFT 2 1
"""

_LARGE: Final = 2**15
_MOST: Final = 3.5e38  # a little more than the largest float32
#: Beginning of a field's name → what may stand in it; 2^15 keeps sums and products of extents in 32 bits.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "activation": (0, 5),
    "padding": (0, 1),
    "mode": (0, 1),
    "kernel": (0, 1),
    "combiner": (0, 2),
    "projection": (1, 2),
    "weights": (0, 1),
    "flag": (0, 1),
    "stride": (1, _LARGE),
    "dilation": (1, _LARGE),
    "filter": (1, _LARGE),
    "block": (1, _LARGE),
    "rank": (1, _LARGE),
    "multiplier": (0, _LARGE),
    "count": (1, _LARGE),
    "radius": (0, _LARGE),
    "bits": (2, 16),
    "number": (-_MOST, _MOST),
}
_KINDS: Final[Mapping[str, Kind]] = {"ints": Vector("i32"), "floats": Vector("f32")}


class _Field(NamedTuple):
    """A field of an options table."""

    name: str
    slot: int
    kind: str
    default: float


class Rule(NamedTuple):
    """An operator's line of the table.

    Attributes:
        name: As in BuiltinOperator.
        inputs: Fewest and most.
        optional: First position that may be left out.
        outputs: Fewest and most.
        options: Number of its options table, or 0.
    """

    name: str
    inputs: tuple[int, int]
    optional: int
    outputs: tuple[int, int]
    options: int


def _read_options() -> dict[int, tuple[str, tuple[_Field, ...]]]:
    tables = {}
    for line in _OPTIONS.split("\n")[1:-1]:
        number, name, *fields = line.split()
        found = []
        for slot, field in enumerate(fields):
            title, _, kind = field.partition(":")
            kind, _, default = kind.partition("=")
            if title != "-":
                found.append(_Field(title, slot, kind, float(default or 0)))
        tables[int(number)] = f"{name}Options", tuple(found)
    return tables


def _count(text: str) -> tuple[int, int]:
    text = text.rstrip("*")
    if text == "?":
        return 0, _LARGE
    if text.endswith("+"):
        return int(text[:-1]), _LARGE
    fewest, _, most = text.partition("-")
    return int(fewest), int(most or fewest)


def _read_operators() -> tuple[Rule, ...]:
    numbers = {name.removesuffix("Options"): number for number, (name, _) in _TABLES.items()}
    rules = []
    for line in _OPERATORS.split("\n")[1:-1]:
        name, inputs, outputs, *options = line.split()
        fewest, most = _count(inputs)
        optional = 0 if inputs.endswith(("**", "?")) else fewest if inputs[-1] == "*" else most
        table = numbers[options[0]] if options else 0
        rules.append(Rule(name, (fewest, most), optional, _count(outputs), table))
    return tuple(rules)


_TABLES: Final = _read_options()
#: BuiltinOperator → rule.
OPERATORS: Final = _read_operators()
#: BuiltinOptions → name of its table in :data:`OPTION_SCHEMA`.
OPTION_NAMES: Final = {number: name for number, (name, _) in _TABLES.items()}
#: Options tables for the walker.
OPTION_SCHEMA: Final[Mapping[str, Mapping[int, Kind]]] = {
    name: {field.slot: _KINDS.get(field.kind, field.kind) for field in fields}
    for name, fields in _TABLES.values()
}


def read_options(rule: Rule, number: int, table: Mapping[int, Any]) -> dict[str, Any]:
    """Options of an operator by name, each in its range.

    Args:
        rule: The operator's.
        number: Which options table the file says it has.
        table: The table's fields by slot.

    Returns:
        Name → value; the defaults of *rule*'s table where the file has none or another's.

    Raises:
        DamageError: A value that the operator cannot have.
    """
    if not rule.options:
        return {}
    found: dict[str, Any] = {}
    for name, slot, kind, default in _TABLES[rule.options][1]:
        value = table.get(slot, default) if number == rule.options else default
        if kind in ("ints", "floats", "text"):
            found[name] = value or ()
            continue
        found[name] = value if kind == "f32" else int(value)
        low, high = _RANGES.get(name.partition("_")[0], (-(2**31), 2**32))
        # NaN is in no range
        if not low <= value <= high:
            raise DamageError(f"{name} is {value}")
    return found
