"""The chapters of the tour, one module each.

A family joins the tour with one module here that defines ``CHAPTER``, a
:class:`~manyfit.tour.chapter.Chapter`; it is found by itself. Its ``run(stage)`` does real work on data that
scikit-learn brings along, announces each step of it with ``with stage.step("...")``, hands its models to
``stage.keep(...)`` to be exported, verified, saved and loaded by the last chapter, and returns a
:class:`~manyfit.tour.chapter.Result`. It costs a few seconds at most, and about one with ``stage.quick``.
"""

from __future__ import annotations

import importlib
import pkgutil

from manyfit.tour.chapter import Chapter

__all__ = ["all_chapters"]


def all_chapters() -> list[Chapter]:
    """Every chapter, in reading order."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    chapters: list[Chapter] = [importlib.import_module(f"{__name__}.{name}").CHAPTER for name in names]
    return sorted(chapters, key=lambda chapter: chapter.order)
