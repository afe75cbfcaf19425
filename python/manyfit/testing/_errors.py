"""Seeing that an error is the right one and says enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["assert_raises"]


@contextmanager
def assert_raises(
    kinds: type[BaseException] | tuple[type[BaseException], ...], *words: str
) -> Iterator[None]:
    """Raise AssertionError unless the block raises one of `kinds` with a message that holds all `words`."""
    expected = " or ".join(each.__name__ for each in (kinds if isinstance(kinds, tuple) else (kinds,)))
    try:
        yield
    except kinds as error:
        missing = [word for word in words if word.lower() not in str(error).lower()]
        assert not missing, f"the message lacks {missing}: {type(error).__name__}: {error}"
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} instead of {expected}: {error}") from error
    else:
        raise AssertionError(f"no error instead of {expected} about {', '.join(words)}")
