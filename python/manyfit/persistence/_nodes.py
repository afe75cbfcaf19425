"""How one value is written as JSON.

None, bool, int below 2**63, finite float and str stand for themselves, and so does a list. Everything else is
an object with one key, its kind:

================ ==================================================== ==========================
kind             content                                              Python
================ ==================================================== ==========================
``int``          hexadecimal text                                     larger int
``float``        16 hexadecimal digits, the bits                      NaN and infinity
``str``          code points                                          str with lone surrogates
``bytes``        hexadecimal text                                     bytes
``tuple``        nodes                                                tuple
``dict``         [key, value] nodes, in order                         dict
``scalar``       dtype, hexadecimal text of its little-endian bytes   NumPy scalar
``array``        tensor                                               array of numbers or bools
``array_str``    tensor of code points, one axis more                 array of fixed-width str
``array_none``   shape                                                array of None
``array_bytes``  tensor of bytes, one axis more                       array of fixed-width bytes
``array_object`` name; tensors ``name.utf8`` and ``name.lengths``     object array of str
``random_state`` object, see ``_random_state``                        RandomState
``generator``    object, see ``_random_state``                        Generator
``estimator``    object: class, params, fitted, routing               estimator
================ ==================================================== ==========================

A tensor bears the path of the value it holds, such as ``coef_`` or ``estimators_.3.coef_``, and is used once.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from manyfit.persistence._container import DTYPE_CODES

__all__ = ["MAX_DEPTH", "SCALAR_CODES", "Node"]

Node: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"

MAX_DEPTH: Final = 64
"""Deepest nesting of values, far below Python's recursion limit; also ends a list that contains itself."""

SCALAR_CODES: Final = {np.dtype(code): name for name, code in DTYPE_CODES.items()}
"""Name in a file of each dtype that a scalar may have."""
