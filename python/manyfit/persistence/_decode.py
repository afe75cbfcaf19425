"""From JSON nodes and tensors to an estimator. Nothing in a file is believed."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metadata_routing import MetadataRequest

from manyfit.base import Estimator
from manyfit.exceptions import ModelFormatError
from manyfit.persistence._classes import ClassFinder, attribute_problem
from manyfit.persistence._container import DTYPE_CODES, shown
from manyfit.persistence._nodes import MAX_DEPTH

from ._random_state import generator_from, random_state_from

__all__ = ["Decoder"]

_MOST_NOTHINGS: Final = 1 << 20
_HEXADECIMAL_INT: Final = re.compile(r"-?0x[0-9a-f]+")
_T = TypeVar("_T")


class Decoder:
    """Makes the estimator of a file.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Each is taken out when a node names it.
    find_class : ClassFinder
    """

    def __init__(self, tensors: dict[str, NDArray[Any]], find_class: ClassFinder) -> None:
        self._tensors = tensors
        self._find_class = find_class

    def model(self, node: object) -> Estimator:
        """Make the estimator that `node` describes.

        Raises
        ------
        ModelFormatError
            If anything in `node` or the tensors is not what the encoder writes, a tensor is left over, or the
            estimator itself finds its attributes inconsistent.
        """
        est = self._estimator(node, "", 0)
        if self._tensors:
            raise ModelFormatError(f"the model has no use for the tensors {shown(sorted(self._tensors))}")
        return est

    def value(self, node: object, where: str, depth: int) -> Any:
        """Make the value of one node, which messages call `where`."""
        if depth > MAX_DEPTH:
            raise ModelFormatError(f"{where} is nested more than {MAX_DEPTH} levels deep")
        if node is None or isinstance(node, bool | str):
            return node
        if isinstance(node, int):
            if not -(2**63) <= node < 2**63:
                raise ModelFormatError(f"{where} is an integer of more than 64 bits")
            return node
        if isinstance(node, float):
            if not math.isfinite(node):
                raise ModelFormatError(f"{where} is a number beyond float64")
            return node
        if isinstance(node, list):
            return self._list(node, where, depth)
        if isinstance(node, dict) and len(node) == 1:
            ((kind, content),) = node.items()
            decode = _DECODERS.get(kind)
            if decode is not None:
                return decode(self, content, where, depth)
        raise ModelFormatError(f"{where} is of no known kind: {shown(node)}")

    def _estimator(self, content: object, where: str, depth: int) -> Estimator:
        place = where or "the model"
        fields = _expect(dict, content, place)
        if fields.keys() - {"routing"} != {"class", "params", "fitted"}:
            raise ModelFormatError(f"{place} must hold class, params and fitted, got {shown([*fields])}")
        cls = self._find_class(fields["class"])
        params = self._attributes(fields["params"], where, depth)
        known = cls._get_param_names()
        for name in params:
            if name not in known:
                raise ModelFormatError(
                    f"{cls.__name__} has no parameter {shown(name)}; it has {', '.join(known)}"
                )
        fitted = self._attributes(fields["fitted"], where, depth)
        for name in fitted:
            problem = "is a parameter" if name in known else attribute_problem(cls, name)
            if problem:
                raise ModelFormatError(f"attribute {shown(name)} of {cls.__name__} {problem}")
        try:
            est = cls(**params)
        except MemoryError:
            raise
        except Exception as error:
            raise ModelFormatError(f"{cls.__name__} refuses its parameters: {error}") from error
        est.__dict__.update(fitted)
        if "routing" in fields:
            asked = self.value(fields["routing"], f"{place}, routing", depth + 1)
            est.__dict__["_metadata_request"] = _metadata_request(est, asked, f"{place}, routing")
        _check_consistent(est)
        return est

    def _attributes(self, content: object, where: str, depth: int) -> dict[str, Any]:
        prefix = f"{where}." if where else ""
        fields = _expect(dict, content, f"{prefix}params or fitted")
        return {name: self.value(node, prefix + name, depth + 1) for name, node in fields.items()}

    def _list(self, content: object, where: str, depth: int) -> list[Any]:
        nodes = _expect(list, content, where)
        return [self.value(node, f"{where}.{index}", depth + 1) for index, node in enumerate(nodes)]

    def _dict(self, content: object, where: str, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        pairs = _expect(list, content, where)
        for index, pair in enumerate(pairs):
            if not isinstance(pair, list) or len(pair) != 2:
                raise ModelFormatError(f"{where} must hold pairs of key and value, got {shown(pair)}")
            key = self.value(pair[0], f"{where}.{index}.key", depth + 1)
            item = self.value(pair[1], f"{where}.{index}", depth + 1)
            try:
                result[key] = item
            except TypeError:
                raise ModelFormatError(
                    f"{where}: a {type(key).__name__} cannot be the key of a dict"
                ) from None
        if len(result) != len(pairs):
            raise ModelFormatError(f"{where} has the same key twice")
        return result

    def _fields(self, content: object, where: str, depth: int) -> dict[str, Any]:
        fields = _expect(dict, content, where)
        return {name: self.value(node, f"{where}.{name}", depth + 1) for name, node in fields.items()}

    def _tensor(self, content: object, where: str) -> NDArray[Any]:
        name = _expect(str, content, where)
        if name not in self._tensors:
            raise ModelFormatError(
                f"{where} needs the tensor {shown(name)}, which is missing or used already"
            )
        return self._tensors.pop(name)

    def _text_array(self, content: object, where: str) -> NDArray[Any]:
        codes = self._tensor(content, where)
        if codes.dtype != np.uint32 or codes.ndim == 0 or codes.shape[-1] == 0:
            raise ModelFormatError(f"{where} is text, its tensor must be of uint32 characters")
        if np.any(codes > 0x10FFFF):
            raise ModelFormatError(f"{where} holds a number that is no character")
        return codes.reshape(-1).view(f"=U{codes.shape[-1]}").reshape(codes.shape[:-1])

    def _bytes_array(self, content: object, where: str) -> NDArray[Any]:
        codes = self._tensor(content, where)
        if codes.dtype != np.uint8 or codes.ndim == 0 or codes.shape[-1] == 0:
            raise ModelFormatError(f"{where} is bytes, its tensor must be of uint8")
        return codes.reshape(-1).view(f"S{codes.shape[-1]}").reshape(codes.shape[:-1])

    def _object_array(self, content: object, where: str) -> NDArray[Any]:
        name = _expect(str, content, where)
        blob = self._tensor(f"{name}.utf8", where)
        lengths = self._tensor(f"{name}.lengths", where)
        if blob.dtype != np.uint8 or blob.ndim != 1 or lengths.dtype != np.int64:
            raise ModelFormatError(f"{where} is text, its tensors must be of uint8 and int64")
        sizes: list[int] = lengths.reshape(-1).tolist()
        if any(size < 0 for size in sizes) or sum(sizes) != len(blob):
            raise ModelFormatError(f"{where}: the lengths of its texts do not add up to {len(blob)} bytes")
        result: NDArray[Any] = np.empty(len(sizes), object)
        end = 0
        try:
            for index, size in enumerate(sizes):
                begin, end = end, end + size
                result[index] = blob[begin:end].tobytes().decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ModelFormatError(f"{where} is not UTF-8: {error}") from None
        return result.reshape(lengths.shape)


def _nothings(content: object, where: str) -> NDArray[Any]:
    """An array of None, of a shape."""
    shape = _expect(list, content, where)
    sizes = [size for size in shape if type(size) is int and 0 < size <= _MOST_NOTHINGS]
    if len(sizes) != len(shape) or len(sizes) > 32 or math.prod(sizes) > _MOST_NOTHINGS:
        raise ModelFormatError(
            f"{where} must be a shape of at most {_MOST_NOTHINGS} entries, got {shown(content)}"
        )
    return np.full(sizes, None, dtype=object)


def _expect(kind: type[_T], content: object, where: str) -> _T:
    if not isinstance(content, kind):
        raise ModelFormatError(f"{where} must be a JSON {kind.__name__}, got {shown(content)}")
    return content


def _int(content: object, where: str) -> int:
    text = _expect(str, content, where)
    if not _HEXADECIMAL_INT.fullmatch(text):
        raise ModelFormatError(f"{where} is no hexadecimal integer: {shown(text)}")
    return int(text, 16)


def _bytes(content: object, where: str) -> bytes:
    text = _expect(str, content, where)
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ModelFormatError(f"{where}: {error}") from None


def _float(content: object, where: str) -> float:
    raw = _bytes(content, where)
    if len(raw) != 8:
        raise ModelFormatError(f"{where} must be the 8 bytes of a float, got {len(raw)}")
    (value,) = struct.unpack(">d", raw)
    return float(value)


def _str(content: object, where: str) -> str:
    codes = _expect(list, content, where)
    if not all(type(code) is int and 0 <= code <= 0x10FFFF for code in codes):
        raise ModelFormatError(f"{where} holds a number that is no character")
    return "".join(map(chr, codes))


def _scalar(content: object, where: str) -> np.generic:
    match content:
        case ["str", str() as text]:
            return np.str_(text)
        case ["str", {"str": codes}]:
            return np.str_(_str(codes, where))
        case [str() as code, str() as digits] if code in DTYPE_CODES:
            dtype = np.dtype(DTYPE_CODES[code])
            raw = _bytes(digits, where)
            if len(raw) == dtype.itemsize and (dtype != np.bool_ or raw[0] < 2):
                value: np.generic = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))[0]
                return value
    raise ModelFormatError(f"{where} must be a dtype and its bytes, got {shown(content)}")


def _metadata_request(est: Estimator, asked: object, where: str) -> MetadataRequest:
    """Make what ``set_fit_request`` and the like had made, also while metadata routing is switched off."""
    request: Any = MetadataRequest(owner=est)
    methods = {name for name, item in vars(request).items() if hasattr(item, "add_request")}
    for method, aliases in _expect(dict, asked, where).items():
        if method not in methods or not isinstance(aliases, dict):
            raise ModelFormatError(f"{where}: {shown(method)} must be a method with a dict of requests")
        for param, alias in aliases.items():
            if not isinstance(param, str) or not (alias is None or isinstance(alias, bool | str)):
                raise ModelFormatError(
                    f"{where}.{method}: {shown(param)} cannot be requested as {shown(alias)}"
                )
            try:
                getattr(request, method).add_request(param=param, alias=alias)
            except ValueError as error:
                raise ModelFormatError(f"{where}.{method}: {error}") from None
    return request


def _check_consistent(est: Estimator) -> None:
    """Check what every estimator has in common, then ask the class."""
    name = type(est).__name__
    state = vars(est)
    n_features = state.get("n_features_in_")
    if n_features is not None and not (isinstance(n_features, int | np.integer) and n_features >= 0):
        raise ModelFormatError(f"{name}.n_features_in_ must be an integer >= 0, got {shown(n_features)}")
    names = state.get("feature_names_in_")
    if names is not None and not (
        isinstance(names, np.ndarray) and names.dtype == object and names.shape == (n_features,)
    ):
        raise ModelFormatError(f"{name}.feature_names_in_ must be an array of n_features_in_ names")
    check = getattr(est, "_check_loaded", None)
    if check is None or not any(attribute.endswith("_") and attribute[0] != "_" for attribute in state):
        return  # nothing to ask, or not fitted
    try:
        check()
    except MemoryError:
        raise
    except Exception as error:
        # The check meets attributes of any type; whatever it stumbles over, the file is at fault.
        raise ModelFormatError(f"{name} is inconsistent: {error}") from error


_Decode = Callable[[Decoder, Any, str, int], Any]
_DECODERS: Final[dict[str, _Decode]] = {
    "int": lambda decoder, content, where, depth: _int(content, where),
    "float": lambda decoder, content, where, depth: _float(content, where),
    "str": lambda decoder, content, where, depth: _str(content, where),
    "bytes": lambda decoder, content, where, depth: _bytes(content, where),
    "tuple": lambda decoder, content, where, depth: tuple(decoder._list(content, where, depth)),
    "dict": Decoder._dict,
    "scalar": lambda decoder, content, where, depth: _scalar(content, where),
    "array": lambda decoder, content, where, depth: decoder._tensor(content, where),
    "array_str": lambda decoder, content, where, depth: decoder._text_array(content, where),
    "array_bytes": lambda decoder, content, where, depth: decoder._bytes_array(content, where),
    "array_none": lambda decoder, content, where, depth: _nothings(content, where),
    "array_object": lambda decoder, content, where, depth: decoder._object_array(content, where),
    "random_state": lambda decoder, content, where, depth: random_state_from(
        decoder._fields(content, where, depth), where
    ),
    "generator": lambda decoder, content, where, depth: generator_from(
        decoder._fields(content, where, depth), where
    ),
    "estimator": Decoder._estimator,
}
