"""Encode states of observers and losses for checkpoints: Python values as JSON, plain arrays next to it; and decode it.

JSON has numbers, texts, lists and tables with texts as keys. Other values become a table with the key "$", which names
their type, so that a restored value equals the written one. Nothing is unpickled.
"""

from __future__ import annotations

import base64
import io
import math

import numpy as np

from ..errors import InputError, quote
from ..values import AnyValue, Values

KIND = "$"  # key that names the type of an encoded value
PLAIN = ("<f8", "<f4", "<i8", "<i4", "<u8", "<u4", "|u1", "|b1")  # types of arrays that are stored next to the JSON
# Types that are kept, without their subclasses: a namedtuple would come back without names, a defaultdict without its
# default.
KINDS = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, np.ndarray)
DEEPEST = 100  # lists and tables that are nested deeper are refused
KEPT = "numbers, texts, bytes, None, lists, tuples, sets, tables and arrays of them"


def split_state(owner: str, state: object) -> tuple[Values, dict[str, np.ndarray]]:
    """Return the state of an observer or a loss as JSON and arrays.

    `owner` is named in messages: "observer NAME". Raises an `InputError` if a checkpoint cannot store a part of the
    state; it names the place.
    """
    if type(state) is not dict or not all(type(key) is str and len(key) < 500 for key in state):
        raise InputError(f"{owner}: state() must return a dict with texts as keys, not {quote(state)}")
    arrays = {key: value for key, value in state.items() if _is_plain(value)}
    others = {key: value for key, value in state.items() if key not in arrays}
    place = f"{owner}: state()"
    return {key: _encode_value(value, f"{place}[{quote(key)}]") for key, value in others.items()}, arrays


def join_state(values: Values, arrays: dict[str, np.ndarray]) -> Values:
    """Return the state that `split` encoded; raise a ValueError if `values` are none."""
    return {key: _decode_value(value) for key, value in values.items()} | arrays


def _is_plain(value: object) -> bool:
    return type(value) is np.ndarray and value.dtype.str in PLAIN and 0 < value.ndim < 9


def _encode_value(value: object, place: str, depth: int = 0) -> AnyValue:
    """Return a value as JSON; `place` is its name in messages."""
    if depth > DEEPEST:
        raise InputError(f"{place}: nested deeper than {DEEPEST} levels, which no checkpoint keeps")
    if np.ma.isMA(value):
        raise InputError(f"{place} is an array with a mask, which no checkpoint keeps")
    if type(value) not in KINDS and not isinstance(value, np.generic):
        raise InputError(f"{place} = {quote(value)} is a {type(value).__name__}; a checkpoint keeps {KEPT}")
    if isinstance(value, np.ndarray | np.generic):
        return {KIND: "array" if isinstance(value, np.ndarray) else "scalar", "npy": _encode_array(value, place)}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if value.bit_length() > 10_000:
            raise InputError(f"{place} = {quote(value)}: more digits than a checkpoint keeps")
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {KIND: "float", "of": str(value)}
    if isinstance(value, complex):
        return {KIND: "complex", "of": [_encode_value(part, place) for part in (value.real, value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {KIND: type(value).__name__, "of": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_encode_value(item, f"{place}[{k}]", depth + 1) for k, item in enumerate(value)]
        return items if isinstance(value, list) else {KIND: type(value).__name__, "of": items}
    assert isinstance(value, dict)
    entries = [(key, _encode_value(item, f"{place}[{quote(key)}]", depth + 1)) for key, item in value.items()]
    if all(type(key) is str for key in value) and KIND not in value:
        return dict(entries)
    return {KIND: "dict", "of": [[_encode_value(key, place, depth + 1), item] for key, item in entries]}


def _encode_array(value: np.ndarray | np.generic, place: str) -> str:
    if value.dtype.hasobject:
        raise InputError(f"{place} is an array with objects, which no checkpoint keeps")
    content = io.BytesIO()
    np.save(content, np.asarray(value), allow_pickle=False)
    return base64.b64encode(content.getvalue()).decode()


def _decode_value(value: object) -> AnyValue:
    if isinstance(value, list):
        return [_decode_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    if KIND not in value:
        return {key: _decode_value(item) for key, item in value.items()}
    kind, of = value[KIND], value.get("of", "")
    if kind in ("array", "scalar"):
        array = np.load(io.BytesIO(base64.b64decode(value["npy"])), allow_pickle=False)
        return array if kind == "array" else array[()]
    if kind == "float":
        return float(of)
    if kind == "complex":
        return complex(*map(_decode_value, of))
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray)(base64.b64decode(of))
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(_decode_value, of))
    if kind == "dict":
        return {_decode_value(key): _decode_value(item) for key, item in of}
    raise ValueError(f"{quote(kind)} is not a kind of value that a checkpoint keeps")
