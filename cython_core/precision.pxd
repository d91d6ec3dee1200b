# The precisions of weights, of neurons' state and of histories. Some functions are written once for both. Classes and
# structs can't be: `double.pxi` and `single.pxi` name their `real`, and their text is included after them.

ctypedef fused real:
    float
    double
