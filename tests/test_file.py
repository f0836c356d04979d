"""Tables in a user's own files: read as they were written, and refused in one sentence that says where."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo import DOUBLE, randn

from wgf.components import Reader
from wgf.data import Dataset, File
from wgf.errors import InputError, SpecError

X = randn(0, 6, 3)
NAMES = ("age", "dose", "weight")


def written(file: Path, text: str) -> File:
    file.write_text(text, encoding="utf-8")
    return File(str(file))


def as_csv(file: Path, x: torch.Tensor = X, names: tuple[str, ...] | None = NAMES, delimiter: str = ",") -> File:
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines, delimiter=delimiter)
        if names is not None:
            writer.writerow(names)
        writer.writerows([[repr(value) for value in row] for row in x.tolist()])
    return File(str(file))


def as_npz(file: Path, x: torch.Tensor = X, names: tuple[str, ...] | None = NAMES) -> File:
    np.savez(file, x=x.numpy(), **({} if names is None else {"names": np.array(names)}))
    return File(str(file))


def as_parquet(file: Path, columns: dict | None = None) -> File:
    arrow = pytest.importorskip("pyarrow", reason=".parquet files are read by pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table(columns or dict(zip(NAMES, X.T.tolist(), strict=True))), file)
    return File(str(file))


WRITERS = {".csv": as_csv, ".npz": as_npz, ".parquet": as_parquet}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_was_written_is_read_to_the_last_digit(tmp_path, suffix):
    table = WRITERS[suffix](tmp_path / f"table{suffix}").load()
    assert table.X.dtype == DOUBLE
    assert torch.equal(table.X, X)
    assert table.names == NAMES
    assert table.y is None


@pytest.mark.parametrize("suffix", WRITERS)
def test_columns_are_taken_by_name_in_the_order_asked(tmp_path, suffix):
    path = WRITERS[suffix](tmp_path / f"table{suffix}").path
    table = File(path, columns=["weight", "age"]).load()
    assert table.names == ("weight", "age")
    assert torch.equal(table.X, X[:, [2, 0]])
    table = File(path, label="dose").load()
    assert table.names == ("age", "weight")
    assert torch.equal(table.y, X[:, 1])  # not all whole: a response


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("names", [NAMES, None])
def test_delimiters_and_headers_are_found(tmp_path, delimiter, names):
    table = as_csv(tmp_path / "table.csv", names=names, delimiter=delimiter).load()
    assert torch.equal(table.X, X)
    assert table.names == (names or ("x1", "x2", "x3"))


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ('\ufeffa,"b;c"\r\n1, 2\r\n3,4\r\n\r\n\r\n', ("a", "b;c"), [[1, 2], [3, 4]]),
        ("1,label\n2,3\n", ("1", "label"), [[2, 3]]),  # text above a number
        ('a, "b, c"\n1, "2"\n', ("a", "b, c"), [[1, 2]]),
        ("7\n8", ("x1",), [[7], [8]]),
        ("1e3;-.5", ("x1", "x2"), [[1000, -0.5]]),
    ],
)
def test_odd_but_clear_tables_are_read(tmp_path, text, names, rows):
    table = written(tmp_path / "table.csv", text).load()
    assert table.names == names
    assert table.X.tolist() == rows


def test_npz_files_without_names(tmp_path):
    np.savez(tmp_path / "a.npz", X=X.numpy(), y=np.array(["b", "a", "b", "c", "a", "a"]))
    table = File(str(tmp_path / "a.npz"), label="y").load()
    assert table.names == ("x1", "x2", "x3")
    assert table.y.tolist() == [1, 0, 1, 2, 0, 0]
    np.savez(tmp_path / "b.npz", cells=np.array([["1", "2"], ["3", "4e1"]]), other=np.zeros(3))
    assert File(str(tmp_path / "b.npz")).load().X.tolist() == [[1, 2], [3, 40]]


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (["no", "yes", "no"], [-1, 1, -1]),
        (["0", "1", "1"], [-1, 1, 1]),
        (["10", "9", "2"], [2, 1, 0]),  # by size, not by the alphabet
        (["red", "blue", "green", "red"], [2, 0, 1, 2]),
        (["1.5", "2", "2"], [1.5, 2, 2]),
    ],
)
def test_labels_are_coded(tmp_path, labels, codes):
    text = "a,kind\n" + "".join(f"{k},{label}\n" for k, label in enumerate(labels))
    path = written(tmp_path / "table.csv", text).path
    table = File(path, label="kind").load()
    assert table.y.tolist() == codes
    assert table.y.is_floating_point() == (codes[0] == 1.5)
    assert table.X.tolist() == [[k] for k in range(len(labels))]
    file = tmp_path / "table.parquet"
    as_parquet(file, {"a": list(range(len(labels))), "kind": labels})
    assert torch.equal(File(str(file), label="kind").load().y, table.y)


BAD = {
    "a,b\n1,2\n3,\n": r"line 3, column 'b': the value is missing \(the cell is empty\)",
    "a,b\n1,2\nNA,4\n": r"line 3, column 'a': the value is missing \(the cell is NA\)",
    "a,b\n1,nan\n3,x\n": r"line 2, column 'b': the value is missing \(the cell is nan\)",
    "a,b\n1,2\n3,-inf\n": r"line 3, column 'b': -inf is infinite",
    "a,b\n1,2\n3,1e999\n": r"line 3, column 'b': 1e999 is infinite",
    "a,sex\n1,male\n3,female\n": r"line 2, column 'sex': 'male' is not a number; leave this column out .* `columns`",
    "1,male\n3,female\n": r"line 1, column 'x2': 'male' is not a number",
    "a;b\n1,5;2\n": r"line 2, column 'a': '1,5' is not a number",
    "a,b\n1,1_000\n": r"line 2, column 'b': '1_000' is not a number",
    "a,b\n1,2\n3\n": r"line 3 has 1 cells, where line 1 has 2",
    "a,b\n1,2\n3,4,5\n": r"line 3 has 3 cells, where line 1 has 2",
    "a,b\n1,2\n\n3,4\n": r"line 3 is blank, with rows below it",
    "a,b,a\n1,2,3\n": r"has more than one column 'a'",
    ",a,b\n0,1,2\n": r"column 1 of .* has no name",
    "": r"is empty",
    "\n1,2\n": r"is empty, or its first line is",
    "a,b\n": r"has no rows below its header",
    'a,b\n1,"2\n3,4\n': r"line 3 has 2 cells|'2.*' is not a number",
}


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_bad_csv_files_are_refused_with_the_place(tmp_path, text):
    with pytest.raises(InputError, match=BAD[text]) as error:
        written(tmp_path / "table.csv", text).load()
    assert str(error.value).startswith((str(tmp_path), "column"))


def test_a_column_that_is_left_out_may_hold_anything(tmp_path):
    path = written(tmp_path / "table.csv", ",a,sex\n0,1,\n1,2,male\n").path
    assert File(path, columns=["a"]).load().X.tolist() == [[1], [2]]


def test_unknown_columns_are_refused_with_the_nearest(tmp_path):
    path = as_csv(tmp_path / "table.csv").path
    with pytest.raises(InputError, match=r"no column 'wieght'; did you mean weight\?"):
        File(path, columns=["age", "wieght"]).load()
    with pytest.raises(InputError, match=r"no column 'outcome'; choose from age, dose, weight"):
        File(path, label="outcome").load()
    with pytest.raises(InputError, match="no column but the label 'a'"):
        File(written(tmp_path / "one.csv", "a\n1\n2\n").path, label="a").load()


def test_labels_must_be_there_and_differ(tmp_path):
    path = written(tmp_path / "table.csv", "a,kind,same\n1,x,0\n2,,0\n").path
    with pytest.raises(InputError, match=r"line 3, column 'kind': the value is missing"):
        File(path, label="kind", columns=["a"]).load()
    with pytest.raises(InputError, match=r"column 'same': every label is 0"):
        File(path, label="same", columns=["a"]).load()


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(InputError, match=r"cannot be read as a \.csv file in UTF-8"):
        File(str(tmp_path / "table.csv")).load()


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    file = tmp_path / f"table{suffix}"
    WRITERS[suffix](file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"is truncated, damaged, or no \.(npz|parquet) file"):
        File(str(file)).load()


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_damage_inside_never_escapes_as_another_error(tmp_path, suffix):
    file = tmp_path / f"table{suffix}"
    WRITERS[suffix](file)
    whole = file.read_bytes()
    for k in range(0, len(whole), 7):
        file.write_bytes(whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        try:
            table = File(str(file)).load()
        except InputError:
            continue
        assert torch.isfinite(table.X).all()


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, r"only one with two axes, got a \(3, 2\), b \(3, 2\)"),
        ({"x": np.zeros(3)}, r"the array x must have shape \(N, p\).*got \(3,\)"),
        ({"x": np.zeros((0, 3))}, r"N and p at least 1, got \(0, 3\)"),
        ({"x": np.zeros((3, 2)), "names": np.array(["a"])}, r"names must have shape \(2,\)"),
        ({"x": np.zeros((3, 2)), "names": np.array(["a", "a"])}, "more than one column 'a'"),
        ({"x": np.array([[1, 2], [np.nan, 3]])}, "row 2, column 'x1': the value is missing"),
        ({"x": np.array([[1, 2], [3, np.inf]])}, "row 2, column 'x2': inf is infinite"),
        ({"x": np.array([["1", "red"]])}, "row 1, column 'x2': 'red' is not a number"),
        ({"x": np.zeros((3, 2), dtype=complex)}, "must hold real numbers, got complex128"),
        ({"x": np.array([[object()]], dtype=object)}, "no .npz file of plain arrays"),  # a pickle is never opened
    ],
)
def test_bad_npz_files_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "table.npz", **arrays)
    with pytest.raises(InputError, match=match):
        File(str(tmp_path / "table.npz")).load()


def test_bad_labels_in_npz_files_are_refused(tmp_path):
    days = np.arange(6).astype("datetime64[D]")
    np.savez(tmp_path / "table.npz", x=X.numpy(), y=np.zeros(5), z=np.array(["a", "b", "", "a", "a", "a"]), t=days)
    with pytest.raises(InputError, match=r"the labels 't' must be 6 numbers or words, got datetime64"):
        File(str(tmp_path / "table.npz"), label="t").load()
    with pytest.raises(InputError, match=r"the labels 'y' must be 6 numbers or words, got float64 \(5,\)"):
        File(str(tmp_path / "table.npz"), label="y").load()
    with pytest.raises(InputError, match=r"row 3, column 'z': the value is missing"):
        File(str(tmp_path / "table.npz"), label="z").load()


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"a": [1.0, None], "b": [1, 2]}, r"row 2, column 'a': the value is missing \(the cell is null\)"),
        ({"a": [1.0, float("inf")], "b": [1, 2]}, "row 2, column 'a': inf is infinite"),
        ({"a": [1, 2], "sex": [None, "male"]}, r"row 2, column 'sex': 'male \(of type string\)' is not a number"),
        ({"a": [True, False], "b": [None, None]}, "row 1, column 'b': the value is missing"),
    ],
)
def test_bad_parquet_files_are_refused(tmp_path, columns, match):
    file = as_parquet(tmp_path / "table.parquet", columns)
    with pytest.raises(InputError, match=match):
        file.load()


def test_without_pyarrow_one_sentence_says_so(monkeypatch, tmp_path):
    def refuse(name: str):
        raise ImportError(name)

    (tmp_path / "table.parquet").touch()
    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(InputError, match=r"pyarrow, which is not installed: pip install 'wgf-toolkit\[parquet\]'"):
        File(str(tmp_path / "table.parquet")).load()


def test_other_suffixes_and_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"table\.xlsx must end in \.csv, \.npz, \.parquet"):
        File(str(tmp_path / "table.xlsx")).load()
    with pytest.raises(InputError, match=r"table\.csv is not a file; a relative path starts from"):
        File(str(tmp_path / "table.csv")).load()


def test_specs_can_say_a_file(tmp_path):
    said, spec = Reader().component(Dataset, {"type": "file", "path": "a.csv", "columns": ["b", "c"]}, "data")
    assert spec == File("a.csv", columns=("b", "c"))
    assert hash(spec) == hash(File("a.csv", columns=["b", "c"]))
    assert list(said["columns"]) == ["b", "c"]
    assert Reader().component(Dataset, said, "data")[1] == spec
    for columns in ([], ["b", "b"], ["b", "y"]):
        with pytest.raises(SpecError, match="columns must be distinct names"):
            Reader().component(Dataset, {"type": "file", "path": "a.csv", "label": "y", "columns": columns}, "data")
