"""From an estimator to JSON nodes and tensors."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metadata_routing import MetadataRequest

from manyfit.base import Estimator
from manyfit.persistence._classes import attribute_problem, class_name, is_cached
from manyfit.persistence._nodes import MAX_DEPTH, SCALAR_CODES, Node

from ._random_state import generator_fields, random_state_fields

__all__ = ["Encoder"]

_ADVICE: Final = (
    "a model file holds plain Python values, NumPy arrays and manyfit estimators; use pickle for others"
)


class Encoder:
    """Collects the tensors of one estimator while it is turned into nodes.

    Parameters
    ----------
    subject : str
        Name of the estimator's class, for messages.

    Attributes
    ----------
    tensors : dict of str to ndarray
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.tensors: dict[str, NDArray[Any]] = {}

    def estimator(self, est: Estimator, where: str = "", depth: int = 0) -> dict[str, Node]:
        """Encode class, parameters and fitted attributes of `est`, names sorted: equal models, equal bytes.

        Raises
        ------
        TypeError
            If a value, or an attribute's name, has no place in a model file.
        ValueError
            If values are nested too deeply.
        """
        cls = type(est)
        params: dict[str, Any] = est.get_params(deep=False)
        fitted = {
            name: value
            for name, value in vars(est).items()
            if name not in params and not is_cached(cls, name)
        }
        request = fitted.pop("_metadata_request", None)
        prefix = f"{where}." if where else ""
        for name in fitted:
            problem = attribute_problem(cls, name)
            if problem:
                raise TypeError(f"save: attribute {self.subject}.{prefix}{name} {problem}")
        fields: dict[str, Node] = {
            "class": class_name(cls),
            "params": {name: self.value(params[name], prefix + name, depth + 1) for name in sorted(params)},
            "fitted": {name: self.value(fitted[name], prefix + name, depth + 1) for name in sorted(fitted)},
        }
        if request is not None:
            fields["routing"] = self._routing(request, prefix + "_metadata_request", depth + 1)
        return fields

    def value(self, value: object, where: str, depth: int) -> Node:
        """Encode one value, which messages and tensors call `where`."""
        if depth > MAX_DEPTH:
            raise ValueError(
                f"save: {self.subject}.{where} is nested more than {MAX_DEPTH} levels deep or contains itself"
            )
        encode = _ENCODERS.get(type(value))
        if encode is not None:
            return encode(self, value, where, depth)
        # joblib turns large arrays into np.memmap; other subclasses mean something of their own.
        if type(value) is np.ndarray or type(value) is np.memmap:
            return self._array(np.asarray(value), where)
        if isinstance(value, np.generic) and np.dtype(type(value)) in SCALAR_CODES:
            return _scalar(value)
        if isinstance(value, Estimator):
            return {"estimator": self.estimator(value, where, depth)}
        kind = type(value)
        raise self._refused(where, f"a {kind.__module__}.{kind.__qualname__}")

    def _refused(self, where: str, what: str) -> TypeError:
        return TypeError(f"save: {self.subject}.{where} is {what}, which a model file cannot hold: {_ADVICE}")

    def _list(self, value: list[Any], where: str, depth: int) -> list[Node]:
        return [self.value(item, f"{where}.{index}", depth + 1) for index, item in enumerate(value)]

    def _tuple(self, value: tuple[Any, ...], where: str, depth: int) -> Node:
        return {"tuple": self._list(list(value), where, depth)}

    def _dict(self, value: dict[Any, Any], where: str, depth: int) -> Node:
        return {
            "dict": [
                [
                    self.value(key, f"{where}.{index}.key", depth + 1),
                    self.value(item, f"{where}.{index}", depth + 1),
                ]
                for index, (key, item) in enumerate(value.items())
            ]
        }

    def _random_state(self, value: np.random.RandomState, where: str, depth: int) -> Node:
        return {"random_state": self._fields(random_state_fields(value), where, depth)}

    def _generator(self, value: np.random.Generator, where: str, depth: int) -> Node:
        return {"generator": self._fields(generator_fields(value), where, depth)}

    def _fields(self, fields: dict[str, Any] | str, where: str, depth: int) -> Node:
        if isinstance(fields, str):
            raise self._refused(where, fields)
        return {name: self.value(item, f"{where}.{name}", depth + 1) for name, item in fields.items()}

    def _routing(self, request: object, where: str, depth: int) -> Node:
        """Encode what ``set_fit_request`` and the like have asked for."""
        if not isinstance(request, MetadataRequest):
            raise self._refused(where, f"a {type(request).__qualname__}")
        methods = {name: getattr(item, "requests", None) for name, item in sorted(vars(request).items())}
        asked = {name: dict(item) for name, item in methods.items() if isinstance(item, dict) and item}
        return self.value(asked, where, depth)

    def _array(self, array: NDArray[Any], where: str) -> Node:
        native = array.dtype.newbyteorder("=")
        array = array.astype(native, copy=False)
        if native in SCALAR_CODES:
            self.tensors[where] = array
            return {"array": where}
        if native.kind == "U":
            self.tensors[where] = _characters(array, np.uint32)
            return {"array_str": where}
        if native.kind == "S":
            self.tensors[where] = _characters(array, np.uint8)
            return {"array_bytes": where}
        if native.kind == "O":
            return self._object_array(array, where)
        raise self._refused(where, f"an array of {native}")

    def _object_array(self, array: NDArray[Any], where: str) -> Node:
        items = array.ravel().tolist()
        if items and all(item is None for item in items):
            return {"array_none": list(array.shape)}
        for item in items:
            if type(item) is not str:
                raise self._refused(where, f"an object array that holds a {type(item).__qualname__}")
        encoded = [item.encode("utf-8", "surrogatepass") for item in items]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self.tensors[f"{where}.utf8"] = np.frombuffer(b"".join(encoded), np.uint8)
        self.tensors[f"{where}.lengths"] = lengths.reshape(array.shape)
        return {"array_object": where}


def _int(value: int) -> Node:
    return value if -(2**63) <= value < 2**63 else {"int": hex(value)}


def _float(value: float) -> Node:
    return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}


def _str(value: str) -> Node:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # JSON would join two lone surrogates into one character.
        return {"str": [ord(char) for char in value]}
    return value


def _scalar(value: np.generic) -> Node:
    native = np.dtype(type(value))
    stored = np.asarray(value).astype(native.newbyteorder("<"))
    return {"scalar": [SCALAR_CODES[native], stored.tobytes().hex()]}


def _characters(array: NDArray[Any], unit: type[np.uint32] | type[np.uint8]) -> NDArray[Any]:
    """Fixed-width text as code points or bytes, along one more axis."""
    if array.dtype.itemsize == 0:
        array = array.astype(f"{array.dtype.kind}1")
    width = array.dtype.itemsize // np.dtype(unit).itemsize
    return np.ascontiguousarray(array).reshape(-1).view(unit).reshape(*array.shape, width)


_Encode = Callable[[Encoder, Any, str, int], Node]
# By exact type: a subclass, such as an enumeration or a named tuple, would come back as something else.
_ENCODERS: Final[dict[type, _Encode]] = {
    type(None): lambda encoder, value, where, depth: None,
    bool: lambda encoder, value, where, depth: bool(value),
    int: lambda encoder, value, where, depth: _int(value),
    float: lambda encoder, value, where, depth: _float(value),
    str: lambda encoder, value, where, depth: _str(value),
    bytes: lambda encoder, value, where, depth: {"bytes": value.hex()},
    list: Encoder._list,
    tuple: Encoder._tuple,
    dict: Encoder._dict,
    np.str_: lambda encoder, value, where, depth: {"scalar": ["str", _str(str(value))]},
    np.random.RandomState: Encoder._random_state,
    np.random.Generator: Encoder._generator,
}
