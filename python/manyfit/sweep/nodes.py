"""YAML as plain values that know their lines.

Nothing is built but mappings with text keys, lists, texts, numbers, true, false and null. Tags and aliases are
refused where the reader meets them, before anything is put together, so a file can neither run code nor
unfold into more than it is. What YAML 1.1 reads otherwise than people write it (``1e-3``, ``None``, ``010``,
``1:30``) is read as meant, with a note, or refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from manyfit.sweep.problems import Problems

__all__ = ["Node", "read_nodes"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 40

_CORE = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


@dataclass
class Node:
    """A value of the file.

    Attributes
    ----------
    value : dict of Node, list of Node, str, int, float, bool or None
    line : int
        Of the key where there is one.
    key : str
        The way to it: ``parameters.ridge.alpha``.
    quoted : bool
        Whether a text stands in quotes.
    """

    value: Any
    line: int
    key: str
    quoted: bool = False

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {name: child.plain for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain for child in self.value]
        return self.value

    @property
    def kind(self) -> str:
        """What it is, in words."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return repr(self.value)

    def __contains__(self, name: str) -> bool:
        return isinstance(self.value, dict) and name in self.value

    def __getitem__(self, name: str) -> Node:
        child: Node = self.value[name]
        return child

    def get(self, name: str) -> Node | None:
        """Return the value of a key, None where there is none."""
        return self.value.get(name) if isinstance(self.value, dict) else None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.value)


def read_nodes(text: str | bytes, problems: Problems) -> Node | None:
    """Read a file; None, and problems, where it is not the YAML that sweep files are made of."""
    if len(text) > MAX_BYTES:
        problems.add(0, "", f"a sweep file must have at most {MAX_BYTES} bytes, got {len(text)}")
        return None
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.add(line, "", "must be UTF-8 text")
            return None
    try:
        if not _harmless(text, problems):
            return None
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        problems.add(mark.line + 1 if mark else 0, "", f"is not YAML: {what}")
        return None
    except yaml.YAMLError as error:
        problems.add(0, "", f"is not YAML: {' '.join(str(error).split())}")
        return None
    if root is None:
        problems.add(0, "", "the file is empty; a sweep file has data, estimator and parameters")
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.add(1, "", f"a sweep file must be a mapping of keys, got {_shown(root)}")
        return None
    return _Reader(problems).read(root, root.start_mark.line + 1, "")


def _harmless(source: str, problems: Problems) -> bool:
    """Look at the events before anything is put together."""
    depth, documents, good = 0, 0, True
    for event in yaml.parse(source, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problems.add(line, "", "must hold one document, got a second one ('---')")
                return False
        if isinstance(event, yaml.AliasEvent):
            problems.add(line, "", f"aliases are not read in sweep files, got *{event.anchor}: write it out")
            good = False
        elif anchor := getattr(event, "anchor", None):
            text = f"anchors are not read in sweep files, got &{anchor}: write the value out"
            problems.add(line, "", text)
            good = False
        tag = getattr(event, "tag", None)
        if tag:
            shown = tag.replace(_CORE, "!!")
            problems.add(
                line, "", f"tags are not read in sweep files, got {shown}: nothing here can run code"
            )
            good = False
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                problems.add(line, "", f"must be nested at most {MAX_DEPTH} deep")
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return good


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def read(self, node: yaml.Node, line: int, key: str) -> Node:
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, key), line, key)
        if isinstance(node, yaml.SequenceNode):
            items = [
                self.read(child, child.start_mark.line + 1, f"{key}[{i}]")
                for i, child in enumerate(node.value)
            ]
            return Node(items, line, key)
        assert isinstance(node, yaml.ScalarNode)
        return Node(self._scalar(node, line, key), line, key, quoted=node.style is not None)

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name_node, child in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                self.problems.add(line, key, f"keys must be texts, got {_shown(name_node)}")
                continue
            name = name_node.value
            if name == "<<" and name_node.style is None:
                self.problems.add(line, key, "merge keys ('<<') are not read in sweep files: write it out")
                continue
            inner = f"{key}.{name}" if key else name
            if name in found:
                self.problems.add(
                    line, inner, f"must be given once, got it again (first on line {found[name].line})"
                )
                continue
            found[name] = self.read(child, line, inner)
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int, key: str) -> Any:
        text: str = node.value
        tag = node.tag.removeprefix(_CORE)
        if tag == "null":
            return None
        if tag == "bool":
            return yaml.SafeLoader.bool_values[text.lower()]
        if node.style is None and _EXPONENT.fullmatch(text):
            value = float(text.replace("_", ""))
            if tag == "str":
                self.problems.note(
                    line, key, f"{text} is read as the number {value:g} (to YAML it is a text without a '.')"
                )
            return self._finite(value, text, line, key)
        if node.style is None and _LEADING_ZERO.fullmatch(text) and tag in ("int", "str"):
            self.problems.add(
                line, key, f"numbers must not begin with 0 (YAML reads them as octal), got {text}"
            )
            return 0
        if tag in ("int", "float"):
            if ":" in text:  # YAML 1.1 counts in sixties
                return text
            try:
                if tag == "float":
                    return self._float(text, line, key)
                return int(text.replace("_", ""), 0)
            except ValueError:
                self.problems.add(line, key, f"must be a number, got {text!r}")
                return 0
        if node.style is None and text == "None":
            self.problems.note(line, key, f"{text} is read as null (to YAML it is a text)")
            return None
        return text  # texts, and dates, which nothing here takes

    def _float(self, text: str, line: int, key: str) -> float:
        lowered = text.lower().replace("_", "")
        if lowered.lstrip("+-") in (".inf", ".nan"):
            return float(lowered.replace(".", "", 1))
        return self._finite(float(lowered), text, line, key)

    def _finite(self, value: float, text: str, line: int, key: str) -> float:
        if not math.isfinite(value):
            self.problems.add(line, key, f"must be a finite number, got {text}")
        return value


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)
