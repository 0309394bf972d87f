r"""The translation of Python's regular expressions for words to onnxruntime's tokenizer.

That tokenizer is RE2, whose \w is ASCII and whose matches are the longest; Python's matches follow
the pattern from left to right.  So only patterns on which both agree are translated, with every
class spelled out as the ranges of characters that Python itself matches.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError

_inside_re: Any = re  # whose types leave out what is private
_SURROGATES = (0xD800, 0xDFFF)
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Words:
    """The rule for words: the matches of ``tokens`` that ``kept``, if set, matches wholly."""

    tokens: str
    kept: str = ""
    holds_space: bool = False


@functools.lru_cache(maxsize=32)
def words(pattern: str) -> Words:
    """The RE2 form of a vectorizer's ``token_pattern``; raises where there is none."""
    parsed = _inside_re._parser.parse(pattern)  # the only reader of Python's own syntax
    flags = parsed.state.flags
    if flags & (re.IGNORECASE | re.LOCALE):
        raise _unknown(pattern)
    items, bounded = _unwrapped(list(parsed), pattern)
    runs = _runs(items, parsed.state, pattern)
    if sum(least for _, least, _ in runs) == 0:
        raise _unknown(pattern)
    holds_space = any(low <= 32 <= high for ranges, _, _ in runs for low, high in ranges)
    if not bounded:
        return Words("".join(_repeated(*each) for each in runs), holds_space=holds_space)
    if len(runs) != 1:
        raise _unknown(pattern)
    (ranges, least, most) = runs[0]
    word = _ranges_of(r"\w")
    letters, all_words = _characters(ranges), _characters(word)
    if letters == all_words and most is None:
        return Words(_repeated(ranges, least, None))
    if letters <= all_words:
        # A boundary on both sides: a whole run of word characters, all of them in the class.
        return Words(_repeated(word, 1, None), _repeated(ranges, least, most))
    if letters > all_words and most is None and least <= 2:
        # The match goes from the first word character of a run to its last.
        inside, edge = _class(ranges), _class(word)
        inner = f"{edge}{inside}*{edge}"
        tokens = inner if least == 2 else f"{edge}(?:{inside}*{edge})?"
        return Words(tokens, holds_space=holds_space)
    raise _unknown(pattern)


def whitespace() -> tuple[str, ...]:
    """Return the characters that Python treats as white space."""
    return tuple(chr(code) for code in sorted(_characters(_ranges_of(r"\s"))))


def safely_lowered() -> str:
    """Return the RE2 form of texts that onnxruntime lowers as Python does.

    It lowers character by character.  Python makes two characters of the dotted capital I, and its
    lower case of the capital sigma depends on the surrounding text unless another letter with case
    follows at once.
    """
    return f"(?s)(?:[^\u03a3\u0130]|\u03a3+{_class(_after_inner_sigma())})*"


@functools.lru_cache(maxsize=1)
def _after_inner_sigma() -> Ranges:
    """Return the characters before which Python lowers the capital sigma as inside a word."""
    cased = (code for code in range(sys.maxunicode + 1) if chr(code).isalpha())
    found = (code for code in cased if f"a\u03a3{chr(code)}".lower()[1] == "\u03c3")
    ranges: list[tuple[int, int]] = []
    for code in found:
        if code in (0x3A3, 0x130):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return tuple(ranges)


def _unwrapped(items: list[Any], pattern: str) -> tuple[list[Any], bool]:
    """The items between word boundaries, and whether there are such on both sides."""
    codes = _inside_re._constants

    boundary = (codes.AT, codes.AT_BOUNDARY)
    before = bool(items) and items[0] == boundary
    after = len(items) > 1 and items[-1] == boundary
    if before != after:
        raise _unknown(pattern)
    items = items[1:-1] if before else items
    # A group around everything changes nothing: findall returns the group.
    while len(items) == 1 and items[0][0] is codes.SUBPATTERN:
        _, added, removed, inner = items[0][1]
        if added or removed:
            raise _unknown(pattern)
        items = list(inner)
    return items, before


def _runs(items: list[Any], state: Any, pattern: str) -> list[tuple[Ranges, int, int | None]]:
    """Return each class with its number of repetitions; neighbours of one class are merged.

    All but the last must have a fixed number: then the longest match is the greedy one.
    """
    codes = _inside_re._constants

    single = (codes.IN, codes.LITERAL, codes.NOT_LITERAL, codes.ANY)
    runs: list[tuple[Ranges, int, int | None]] = []
    for code, value in items:
        most: int | None
        least, most, item = 1, 1, (code, value)
        if code is codes.MAX_REPEAT:
            least, most, inner = value
            most = None if most is codes.MAXREPEAT else int(most)
            if len(inner) != 1:
                raise _unknown(pattern)
            item = inner[0]
        if item[0] not in single:
            raise _unknown(pattern)
        ranges = _ranges(item, state)
        if runs and runs[-1][0] == ranges:
            _, known_least, known_most = runs.pop()
            least += known_least
            most = None if most is None or known_most is None else most + known_most
        runs.append((ranges, least, most))
    if any(least != most for _, least, most in runs[:-1]):
        raise _unknown(pattern)
    return runs


def _ranges(item: Any, state: Any) -> Ranges:
    codes = _inside_re._constants

    repeated = _inside_re._parser.SubPattern(state, [item])
    every = _inside_re._parser.SubPattern(
        state, [(codes.MAX_REPEAT, (1, codes.MAXREPEAT, repeated))]
    )
    return _spans(_inside_re._compiler.compile(every, state.flags & ~re.DEBUG))


@functools.lru_cache(maxsize=16)
def _ranges_of(character_class: str) -> Ranges:
    return _spans(re.compile(f"(?:{character_class})+", re.DOTALL))


def _spans(compiled: re.Pattern[str]) -> Ranges:
    """Return the ranges of characters that the repeated class matches."""
    found = []
    for start, stop in ((0, _SURROGATES[0]), (_SURROGATES[1] + 1, sys.maxunicode + 1)):
        everything = "".join(map(chr, range(start, stop)))
        for match in compiled.finditer(everything):
            found.append((start + match.start(), start + match.end() - 1))
    return tuple(found)


def _characters(ranges: Ranges) -> frozenset[int]:
    return frozenset(code for low, high in ranges for code in range(low, high + 1))


def _class(ranges: Ranges) -> str:
    if not ranges:
        return "[^\\x{0}-\\x{10ffff}]"
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"


def _repeated(ranges: Ranges, least: int, most: int | None) -> str:
    if (least, most) == (1, 1):
        return _class(ranges)
    return f"{_class(ranges)}{{{least},{'' if most is None else most}}}"


def _unknown(pattern: str) -> NotExportableError:
    return NotExportableError(
        f"the token_pattern {pattern!r} has no ONNX form; use one class of characters repeated,"
        r" such as the default '(?u)\b\w\w+\b' or '[a-z]+'"
    )
