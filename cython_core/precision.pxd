# The precisions of weights, of neurons' state and of histories. Functions without state are written once for both;
# a class can't be: `double.pxi` and `single.pxi` name its `real`, and the text of the class is included after them.

ctypedef fused real:
    float
    double
