# The precisions of weights, of neurons' state and of histories. Functions without state are written once for both;
# a class can't be: `double.pxi` and `single.pxi` name its `real`, and the text of the class is included after them.

ctypedef fused real:
    float
    double

ctypedef fused total_of:    # sums onto neurons are as precise as their state, those onto readouts always double
    float
    double
