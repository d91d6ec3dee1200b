# Classes whose attributes are bound once, from one mapping of names to values.


cdef inline object bind(object target, object values):
    """Set all public attributes of `target`: one that is forgotten would be read as memory that isn't there."""
    kinds = [kind for kind in type(target).__mro__ if kind is not object]
    declared = {name for kind in kinds for name, item in vars(kind).items() if hasattr(item, "__set__")}
    if declared != values.keys():
        missing, unknown = sorted(declared - values.keys()), sorted(values.keys() - declared)
        raise TypeError(f"{type(target).__name__}: missing {missing}, unknown {unknown}")
    for name in declared:
        setattr(target, name, values[name])
