"""Surrogate gradients psi(x), x the value of `spike`: an entry is a name, in NEST's spelling, and its formula."""

_R = "x*(1/surrogate_gradient_width)"
_X = "abs(x)*(1/surrogate_gradient_width)"

#: as in NEST 3.10, and the derivative of the logistic function (Zenke and Vogels 2021, doi 10.1162/neco_a_01367)
SURROGATES = {
    "piecewise_linear": f"surrogate_gradient_height*max(0, 1 - {_X})",
    "exponential": f"surrogate_gradient_height*exp(-({_X}))",
    "fast_sigmoid_derivative": f"surrogate_gradient_height/((1 + {_X})*(1 + {_X}))",
    "arctan_derivative": f"surrogate_gradient_height/(1 + {_R}*({_R}))",
    "sigmoid_derivative": f"4*surrogate_gradient_height*exp(-({_X}))/((1 + exp(-({_X})))*(1 + exp(-({_X}))))",
}
