"""State of NumPy's random number generators as plain values, and back.

NumPy copies a state into C structures unchecked (a position beyond the MT19937 table reads outside it), so
each field is checked here before it gets there.

Fields: ``bit_generator`` (``"MT19937"`` with ``key``, ``pos``; ``"PCG64"`` with ``state``, ``inc``,
``has_uint32``, ``uinteger``); a RandomState adds ``has_gauss`` and ``gauss``, a Generator ``seed``: entropy,
spawn key and the number of children spawned, from which ``spawn`` goes on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.random import MT19937, PCG64, Generator, RandomState, SeedSequence

from manyfit.exceptions import ModelFormatError
from manyfit.persistence._container import shown

__all__ = ["generator_fields", "generator_from", "random_state_fields", "random_state_from"]

_KEY_LENGTH: Final = 624
_BIT_GENERATORS: Final = (MT19937, PCG64)
_STATE_FIELDS: Final = {
    "MT19937": {"bit_generator", "key", "pos"},
    "PCG64": {"bit_generator", "state", "inc", "has_uint32", "uinteger"},
}


def random_state_fields(value: RandomState) -> dict[str, Any] | str:
    """Fields of a RandomState; where it cannot be stored, text that says what it is."""
    state: Any = value.get_state(legacy=False)
    fields = _state_fields(value._bit_generator)
    if isinstance(fields, str):
        return f"a RandomState over {fields}"
    return fields | {"has_gauss": state["has_gauss"], "gauss": state["gauss"]}


def generator_fields(value: Generator) -> dict[str, Any] | str:
    """Fields of a Generator; where it cannot be stored, text that says what it is."""
    fields = _state_fields(value.bit_generator)
    if isinstance(fields, str):
        return f"a Generator over {fields}"
    seed = value.bit_generator.seed_seq
    if type(seed) is not SeedSequence or seed.pool_size != 4:
        return f"a Generator seeded by {seed!r}"
    entropy = seed.entropy if isinstance(seed.entropy, int) else [int(item) for item in seed.entropy or ()]
    return fields | {"seed": [entropy, [int(item) for item in seed.spawn_key], seed.n_children_spawned]}


def _state_fields(bit_generator: Any) -> dict[str, Any] | str:
    if type(bit_generator) not in _BIT_GENERATORS:
        return f"{type(bit_generator).__name__} (only MT19937 and PCG64 can be stored)"
    state = bit_generator.state
    if state["bit_generator"] == "MT19937":
        return {"bit_generator": "MT19937", "key": state["state"]["key"], "pos": state["state"]["pos"]}
    rest = {name: state[name] for name in ("has_uint32", "uinteger")}
    return {"bit_generator": "PCG64", **state["state"], **rest}


def random_state_from(fields: dict[str, Any], where: str) -> RandomState:
    """Make a RandomState of checked fields."""
    bit_generator = _bit_generator(fields, {"has_gauss", "gauss"}, SeedSequence(0), where)
    _check_int(fields, "has_gauss", 2, where)
    if type(fields["gauss"]) is not float:
        raise ModelFormatError(f"{where}.gauss must be a float, got {shown(fields['gauss'])}")
    value = RandomState(bit_generator)
    # RandomState over PCG64 has its own second normal too, which only set_state reaches.
    state: Any = value.get_state(legacy=False)
    value.set_state(state | {"has_gauss": fields["has_gauss"], "gauss": fields["gauss"]})
    return value


def generator_from(fields: dict[str, Any], where: str) -> Generator:
    """Make a Generator of checked fields."""
    return Generator(_bit_generator(fields, {"seed"}, _seed_sequence(fields.get("seed"), where), where))


def _seed_sequence(seed: object, where: str) -> SeedSequence:
    match seed:
        case [int() | list() as entropy, list() as spawn_key, int() as spawned]:
            words = entropy if isinstance(entropy, list) else [entropy]
            if all(type(word) is int and word >= 0 for word in [*words, *spawn_key]) and 0 <= spawned < 2**32:
                return SeedSequence(entropy, spawn_key=tuple(spawn_key), n_children_spawned=spawned)
    raise ModelFormatError(
        f"{where}.seed must be entropy, spawn key and number of children, got {shown(seed)}"
    )


def _bit_generator(
    fields: dict[str, Any], extra: set[str], seed: SeedSequence, where: str
) -> MT19937 | PCG64:
    name: Any = fields.get("bit_generator")
    expected = _STATE_FIELDS.get(name) if isinstance(name, str) else None
    if expected is None:
        raise ModelFormatError(f"{where}.bit_generator must be 'MT19937' or 'PCG64', got {shown(name)}")
    if fields.keys() != expected | extra:
        raise ModelFormatError(
            f"{where} must hold {', '.join(sorted(expected | extra))}, got {shown([*fields])}"
        )
    if name == "MT19937":
        key = fields["key"]
        if not (isinstance(key, np.ndarray) and key.dtype == np.uint32 and key.shape == (_KEY_LENGTH,)):
            raise ModelFormatError(f"{where}.key must be an array of {_KEY_LENGTH} uint32")
        _check_int(fields, "pos", _KEY_LENGTH + 1, where)
        twister = MT19937(seed)
        twister.state = {"bit_generator": name, "state": {"key": key, "pos": fields["pos"]}}
        return twister
    for field, end in (("state", 2**128), ("inc", 2**128), ("has_uint32", 2), ("uinteger", 2**32)):
        _check_int(fields, field, end, where)
    pcg = PCG64(seed)
    pcg.state = {
        "bit_generator": name,
        "state": {"state": fields["state"], "inc": fields["inc"]},
        "has_uint32": fields["has_uint32"],
        "uinteger": fields["uinteger"],
    }
    return pcg


def _check_int(fields: dict[str, Any], name: str, end: int, where: str) -> None:
    value = fields[name]
    if type(value) is not int or not 0 <= value < end:
        raise ModelFormatError(f"{where}.{name} must be an integer from 0 to {end - 1}, got {shown(value)}")
