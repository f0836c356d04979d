"""Tables in .csv files, read line by line."""

import csv
import re
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np

from wgf.data.reading import Found, Wanted, is_infinite, is_missing, is_number, number, refuse
from wgf.data.table import numbered
from wgf.errors import InputError

Line: TypeAlias = tuple[int, list[str]]  # its number in the file, from 1, and its cells


def read(file: Path, wanted: Wanted) -> Found:
    """The wanted columns; of the text, only labels are kept."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return _table(file, text, wanted)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as a .csv file in UTF-8: {error}") from error


def _table(file: Path, text: TextIO, wanted: Wanted) -> Found:
    lines = _filled(file, text, _delimiter(file, text))
    start, first = next(lines)
    second = next(lines, None)
    head = _is_header(first, [] if second is None else second[1])
    names = tuple(cell.strip() for cell in first) if head else numbered("x", len(first))
    chosen = wanted.among(names, file)
    values, labels, count = array("d"), [], 0
    for line, cells in chain([] if head else [(start, first)], [] if second is None else [second], lines):
        if len(cells) != len(names):
            raise InputError(f"{file}, line {line} has {len(cells)} cells, where line {start} has {len(names)}")
        try:
            values.extend([number(cells[k]) for k in chosen.features])
        except ValueError:
            k = next(k for k in chosen.features if not is_number(cells[k]))
            refuse(file, f"line {line}", names[k], cells[k])
        if chosen.label is not None:
            labels.append(_label(file, line, names[chosen.label], cells[chosen.label]))
        count += 1
    if not count:
        raise InputError(f"{file} has no rows below its header")
    X = np.array(values, dtype=np.float64).reshape(count, len(chosen.features))
    return Found(X, None if chosen.label is None else labels, chosen.names)


def _label(file: Path, line: int, column: str, cell: str) -> str:
    if is_missing(cell) or is_infinite(cell):
        refuse(file, f"line {line}", column, cell)
    return cell.strip()


def _delimiter(file: Path, text: TextIO) -> str:
    """What stands between the cells of the first line: a tab, else a semicolon, else a comma."""
    first = text.readline()
    text.seek(0)
    if not first.strip():
        raise InputError(f"{file} is empty, or its first line is: it should hold names or numbers")
    bare = re.sub(r'"[^"]*"', "", first)
    return next((mark for mark in "\t;" if mark in bare), ",")


def _filled(file: Path, text: TextIO, delimiter: str) -> Iterator[Line]:
    """Lines with cells; blank ones may end a file, but inside it they may be a missing value."""
    blank, reader = None, csv.reader(text, delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        if not cells:
            blank = blank or reader.line_num
            continue
        if blank:
            raise InputError(f"{file}, line {blank} is blank, with rows below it; delete it, or fill it in")
        yield reader.line_num, cells


def _is_header(first: list[str], second: list[str]) -> bool:
    """Whether the first line names the columns: text without numbers, or text above a number."""
    if not any(is_number(cell) for cell in first):
        return any(_is_text(cell) for cell in first)
    return any(_is_text(cell) and is_number(below) for cell, below in zip(first, second, strict=False))


def _is_text(cell: str) -> bool:
    return not (is_number(cell) or is_missing(cell) or is_infinite(cell))
