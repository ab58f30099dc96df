"""Tables in CSV files: what is read, and what is said of files that are not as they should be."""

import bz2
import gzip
import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import fastnn
from fastnn.tables import Table


def load(text, **options):
    return fastnn.load_csv(io.StringIO(text), **options)


def fails(text, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        load(text, **options)
    assert type(caught.value) is ValueError
    return str(caught.value)


def rows(count, *cells):
    return (",".join(map(str, cells)) + "\n") * count


@pytest.fixture
def frame(rng):
    data = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    data["tree"] = np.array(["ash", "fir", "oak"])[np.arange(60) % 3]
    return data


def test_the_parts_of_a_table(tmp_path):
    path = tmp_path / "trees.csv"
    path.write_text("width,height,tree\n1.5,2,fir\n3,1,ash\n2.5,4,fir\n", encoding="utf-8")
    for source in (path, str(path)):
        table = fastnn.load_csv(source)
        assert isinstance(table, Table)
        X, y, feature_names, classes = table
        np.testing.assert_array_equal(X, [[1.5, 2], [3, 1], [2.5, 4]])
        assert (X.dtype, X.flags.c_contiguous, X.flags.writeable) == (np.float64, True, True)
        np.testing.assert_array_equal(y, [1, 0, 1])
        assert y.dtype == np.int64
        assert feature_names == ("width", "height")
        np.testing.assert_array_equal(classes[y], ["fir", "ash", "fir"])


def test_a_regression_has_no_classes():
    X, y, feature_names, classes = load("a,b\n1,2.5\n2,3.5\n")
    np.testing.assert_array_equal(y, [2.5, 3.5])
    assert (y.dtype, feature_names, classes) == (np.float64, ("a",), None)
    assert X.shape == (2, 1)


def test_a_text_stream_of_a_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,?\n2,3\n", encoding="utf-8")
    with path.open(encoding="utf-8") as stream, pytest.raises(ValueError, match=r"t\.csv, line 2"):
        fastnn.load_csv(stream)
    with path.open("rb") as stream, pytest.raises(TypeError, match="text stream"):
        fastnn.load_csv(stream)


def test_numbers_are_those_that_python_reads(rng):
    values = np.r_[rng.normal(size=300), np.exp(rng.uniform(-700, 700, 300)), 5e-324, 1.7e308]
    X, y, _, _ = load("".join(f"{v!r},{-v!r}\n" for v in values.tolist()), task="number")
    np.testing.assert_array_equal(X[:, 0], values)
    np.testing.assert_array_equal(y, -values)


# Headers


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("kind", ["floats", "integers", "names", "numbers and a name"])
def test_what_pandas_writes_has_its_header(frame, rng, index, kind):
    data = frame
    if kind == "floats":
        data = pd.DataFrame(np.c_[frame[["a", "b", "c"]], np.arange(60) % 3])
    if kind == "integers":
        data = pd.DataFrame(rng.integers(0, 5, (60, 4)))
    if kind == "numbers and a name":
        data = pd.DataFrame(frame[["a", "b", "c"]].to_numpy())
        data["tree"] = frame["tree"]
    X, y, feature_names, _ = load(data.to_csv(index=index))
    np.testing.assert_array_equal(X, data.iloc[:, :3])
    assert len(y) == 60
    assert feature_names == tuple(map(str, data.columns[:3]))


def test_row_labels_of_a_shuffled_frame_are_no_feature(frame):
    shuffled = frame.sample(frac=1, random_state=0)
    X, _, feature_names, _ = load(shuffled.to_csv())
    np.testing.assert_array_equal(X, shuffled[["a", "b", "c"]])
    assert feature_names == ("a", "b", "c")


def test_row_labels_of_r_and_features_without_a_name():
    text = '"","mpg","cyl"\n"Mazda RX4",21.5,6\n"Fiat 128",32.4,4\n"Valiant",18.1,6\n'
    X, _, feature_names, _ = load(text)
    assert (X.ravel().tolist(), feature_names) == ([21.5, 32.4, 18.1], ("mpg",))
    assert load(",b,y\n0.5,1,2.5\n1.5,2,3.5\n").feature_names == ("column 1", "b")
    assert load(",b,y\n1,1,2.5\n1,2,3.5\n").feature_names == ("column 1", "b")


@pytest.mark.parametrize("cell", ["?", "", "NA", " "])
def test_a_first_row_with_a_missing_cell_is_no_header(cell):
    fails(f"{cell},2,3\n" + rows(20, 1, 2, 4), r"line 1, column 1: the cell is missing")


@pytest.mark.parametrize(
    "text",
    ["0,0,0\n0,1,1\n1,0,1\n1,1,0\n", "".join(f"{i},{2 * i + 1}\n" for i in range(30)),
     "0,1,ash\n" + rows(9, 2, 3, "ash") + rows(9, 2, 4, "fir"),
     "1,2,1_1\n3,4,11\n1,2,1_1\n3,4,11\n3,5,12\n3,4,11\n"],
)  # fmt: skip
def test_numbers_in_the_first_row_are_data(text):
    X, _, feature_names, _ = load(text)
    assert len(X) == len(text.splitlines())
    assert feature_names[0] == "column 1"


def test_names_of_numbers_need_the_word_of_the_user():
    text = "year,2019,2020\n" + rows(5, 1, 2, 4)
    fails(text, r"'year' is not a number, '2019' is one; say header=True or header=False")
    assert load(text, header=True).feature_names == ("year", "2019")
    fails(text, "line 1, column 1: 'year' is not a number", header=False)


def test_a_header_in_the_middle_of_the_data():
    fails("a,b\n1,2\na,b\n3,4\n2,2\n5,2\n", "line 3, column 'a': 'a' is not a number", task="number")


def test_a_bad_cell_in_the_first_row_is_no_header():
    fails("1.5,abc,2\n" + rows(20, 1, 2, 4), "line 1, column 2: 'abc' is not a number")


def test_columns_of_one_name():
    fails("a,a,b\n1,2,3\n3,4,5\n", "columns 1, 2 have one name, 'a'")


# Missing cells and others that are no numbers


@pytest.mark.parametrize("cell", ["", "?", "NA", "nan", "NaN", " ", "null", "N/A"])
@pytest.mark.parametrize("column", ["a", "b", "y"])
def test_a_missing_cell_is_named_with_its_line(cell, column):
    cells = {name: cell if name == column else "1.5" for name in "aby"}
    text = "a,b,y\n" + rows(300, 1, 2, 0.25) + ",".join(cells.values()) + "\n" + rows(3, 1, 2, 3)
    message = fails(text, f"line 302, column '{column}': the cell is missing")
    for remedy in ("dropna", "fillna", "SimpleImputer"):
        assert remedy in message


def test_an_empty_target_among_numbers_makes_no_classes():
    text = "a,b\n" + "".join(f"{i},{i * 0.37}\n" for i in range(298)) + "9,\n"
    fails(text, "line 300, column 'b': the cell is missing")


def test_missing_labels():
    fails("a,b\n1,x\n2,\n3,y\n", "line 3, column 'b': the cell is missing")
    assert load("a,b\n1,x\n2,None\n").classes.tolist() == ["None", "x"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_in_an_editor(end):
    lines = ["a,b,c", '1,2,"x', 'y"', "", '2,4,"x', 'y"', '"1', '",?,z']
    fails(end.join(lines) + end, "line 8, column 'b': the cell is missing")


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400"])
@pytest.mark.parametrize("column", [0, 1])
def test_infinite_numbers(cell, column):
    cells = ["1", "2.5"]
    cells[column] = cell
    text = "a,b\n" + rows(3, 1, 2.5) + ",".join(cells) + "\n"
    fails(text, f"line 5, column '{'ab'[column]}': '{cell}' is not a finite number")


@pytest.mark.parametrize("cell", ["abc", "1_1", "0x10", "1 000", "١٢", "1d5", "TRUE"])
def test_a_cell_that_is_no_number(cell):
    fails("a,b\n" + rows(500, 1, 2) + f"{cell},2\n", f"line 502, column 'a': '{cell}' is not a number")


def test_columns_of_text_are_named_with_the_remedy():
    text = "a,city,name,b\n1,Rome,x,2\n2,Paris,y,3\n"
    fails(text, r"column 'city' and column 'name' hold text \(line 2: 'Rome'\).*OneHotEncoder")


@pytest.mark.parametrize("target", [-1, "b", "day"])
def test_columns_of_dates_are_named(target):
    text = "a,day,b\n1,2024-01-31,2\n2,2024-02-01 12:30:00,3\n"
    fails(text, r"column 'day' holds dates \(line 2: '2024-01-31'\)", target=target)
    fails(
        text.replace("2024-01-31", "31.1.2024"),
        "holds dates .*; replace dates by numbers",
        target=target,
    )


def test_truth_values_are_features_of_0_and_1():
    X, y, _, classes = load("a,b,c\ntrue,TRUE ,no\nFalse,false,yes\n")
    np.testing.assert_array_equal(X, [[1, 1], [0, 0]])
    assert load("a,b\n1,true\n2,false\n").classes.tolist() == ["false", "true"]
    fails("a,b\ntrue,1\n2,2\n", "line 2, column 'a': 'true' is not a number")
    assert (y.tolist(), classes.tolist()) == ([0, 1], ["no", "yes"])


def test_integers_of_more_than_64_bits():
    assert load("a,b\n1,2\n99999999999999999999999,3\n").X[1, 0] == 1e23


# Rows and quotes


@pytest.mark.parametrize("before", [0, 1, 6, 600])
@pytest.mark.parametrize("row", ["1,2", "1", "1,2,3,4", "1,2,3,"])
def test_a_row_of_another_length(before, row):
    text = "a,b,c\n" + rows(before, 1, 2, 3) + row + "\n" + rows(before + 9, 1, 2, 3)
    count = row.count(",") + 1
    fails(text, f"line {before + 2}: the row has {count} cells, the others have 3")


def test_a_header_of_another_length():
    fails('"a","b"\n"1",5,6\n"2",6,7\n', "header, line 1, has 2 cells, line 2 has 3")


@pytest.mark.parametrize("header", ["a,b,c,\n", "a,b,c\n", ""])
def test_a_separator_at_the_end_of_every_line_makes_no_column(header):
    X, y, feature_names, classes = load(header + "1,2,0,\n3,4,1,\n2,2,0,\n4,4,1,\n")
    assert X.shape == (4, 2)
    assert y.tolist() == [0, 1, 0, 1]
    assert classes.tolist() == ["0", "1"]
    assert len(feature_names) == 2


def test_an_empty_last_column_is_empty_to_its_end():
    fails("a,b,\n" + rows(300, 1, 2, "") + "1,2,7\n", "line 302: '7' stands in a last column")
    fails("a,b,c\n1,2,\n3,4,\n", "line 2, column 'c': the cell is missing.*2 cells of the file")


@pytest.mark.parametrize(
    ("before", "after"), [(0, 0), (1, 1), (500, 500), (500, 50_000)]
)  # fmt: skip
def test_an_open_quote_is_named_with_its_line(before, after):
    text = "a,b,c\n" + rows(before, 1, 2, "x") + '1,"2,x\n' + rows(after, 1, 2, "x")
    fails(text, rf"line {before + 2}: .*(quote is opened|quote not closed)")
    fails('"a,b,c\n1,2,x\n1,2,x\n', "line 1: a quote is opened")
    fails('a,b\n1,"x', "line 2: a quote is opened")


@pytest.mark.parametrize("place", ["x,1\n{}", "1,{}\n2,x", "a,b\n1,{}\n", "a,b\n1,2\n{},3\n"])
def test_a_cell_of_200_000_characters_is_read_or_named(place):
    text = place.format("x" * 200_000)
    with pytest.raises(ValueError, match=r"line \d: a cell cannot be read"):
        load(text)


def test_quotes_after_blanks():
    X, _, feature_names, classes = load('"a" , "b;c"\n1 , "x, y"\n2 , "z"\n3,"z"\n')
    assert (X.ravel().tolist(), feature_names) == ([1, 2, 3], ("a",))
    assert classes.tolist() == ["x, y", "z"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n\r\n", "is empty"),
        ("\ufeff", "is empty"),
        ("sep=;\n", "is empty"),
        ("a,b,c\n", "has a header, but no rows"),
        ("1\n2\n3\n", "has one column"),
        ("1,\n2,\n3,\n", "has one column"),
        ("a,b\n1,2\n", "has 1 row"),
        ("1,2\n", "has 1 row"),
        ("a,b\n1,\0\n", "is not plain text"),
    ],
)
def test_files_that_are_no_tables(text, message):
    fails(text, message)


# Separators, decimal marks, encodings


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("header", [True, False])
def test_the_separator_is_found(tmp_path, sep, end, mark, header):
    lines = [sep.join(cells) for cells in (("1.5", "2", "x"), ("2.5", "3", "y"))]
    text = mark + end.join([*[sep.join("abc")] * header, *lines, ""])
    (tmp_path / "T.CSV").write_bytes(text.encode())
    for source in (tmp_path / "T.CSV", io.StringIO(text, newline="")):
        X, _, feature_names, classes = fastnn.load_csv(source)
        np.testing.assert_array_equal(X, [[1.5, 2], [2.5, 3]])
        assert feature_names == (("a", "b") if header else ("column 1", "column 2"))
        assert classes.tolist() == ["x", "y"]


@pytest.mark.parametrize("sep", [";", "\t"])
def test_decimal_commas(sep):
    text = f"a{sep}b{sep}y\n1,5{sep}2{sep}3,25\n-2,5{sep}3{sep}4,5\n"
    X, y, _, _ = load(text)
    np.testing.assert_array_equal(X, [[1.5, 2], [-2.5, 3]])
    np.testing.assert_array_equal(y, [3.25, 4.5])
    late = load("a;b;y\n" + "1;2;3,5\n" * 300 + "1,5;3;1\n")
    assert late.X[-1].tolist() == [1.5, 3]
    features_only = load("a;y\n" + "1;x\n" * 300 + "1,5;z\n")
    assert features_only.X[-1].tolist() == [1.5]


@pytest.mark.parametrize(
    "text",
    ["a;b\n1.234,5;2\n2.234,5;2\n", "a;b\n" + "1.5;2\n" * 300 + "1,5;3\n", 'a,b\n"1,5",2\n"2,5",3\n',
     "a;b\n" + "1;3\n" * 300 + "1;2,5\n" + "1;3\n"],
)  # fmt: skip
def test_other_marks_in_numbers_are_errors(text):
    with pytest.raises(ValueError, match="decimal point") as caught:
        load(text, task="number")
    assert "','" not in str(caught.value)


def test_the_separator_line_of_excel():
    X, _, _, classes = load("sep=;\r\na;b;c\r\n1,5;2;x\r\n2,5;3;y\r\n")
    np.testing.assert_array_equal(X, [[1.5, 2], [2.5, 3]])
    assert classes.tolist() == ["x", "y"]
    fails("sep=;\na;b\n1;2\n?;3\n", "line 4, column 'a'")


def test_a_separator_of_the_user():
    np.testing.assert_array_equal(load("1 2 3\n4 5 6\n", sep=" ").X, [[1, 2], [4, 5]])
    fails("1 2 3\n4  5 6\n7 8 9\n", "line 2: the row has 4 cells", sep=" ")
    fails("1 2 3\n4 5 6\n", "name another separator with sep")
    for sep in ("", "ab", '"', "\n", "·", 3):
        with pytest.raises(ValueError, match="sep must be one ASCII character"):
            load("1,2\n3,4\n", sep=sep)


def test_other_encodings_are_named_with_the_remedy(tmp_path):
    path = tmp_path / "t.csv"
    text = "a,b\n" + "1,x\n" * 500_000 + "1,café\n"
    path.write_bytes(text.encode("latin-1"))
    message = r"t\.csv is not text in utf-8 \(line 500002: byte 0xe9\).*encoding='latin-1'"
    with pytest.raises(ValueError, match=message):
        fastnn.load_csv(path)
    assert fastnn.load_csv(path, encoding="latin-1").classes.tolist() == ["café", "x"]
    path.write_bytes(text[:400].encode("utf-16"))
    with pytest.raises(ValueError, match="encoding='utf-16'"):
        fastnn.load_csv(path)
    assert len(fastnn.load_csv(path, encoding="utf-16").X) == 99
    path.write_text(text[:400], encoding="ascii")
    with pytest.raises(ValueError, match=r"t\.csv is not text in utf-16"):
        fastnn.load_csv(path, encoding="utf-16")
    with pytest.raises(ValueError, match="encoding must name"):
        fastnn.load_csv(path, encoding="latin-17")


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files(tmp_path, suffix, pack):
    path = tmp_path / f"t.csv{suffix}"
    content = pack(b"a,b\n" + b"1,x\n2,y\n" * 9000)
    path.write_bytes(content)
    assert fastnn.load_csv(path).X.shape == (18_000, 1)
    for damaged in (content[:-9], content[: len(content) // 2], b"a,b\n1,x\n"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"t\.csv\.\w+ is damaged"):
            fastnn.load_csv(path)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        fastnn.load_csv(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fastnn.load_csv(tmp_path)
    with pytest.raises(TypeError, match="path must be"):
        fastnn.load_csv(3)


# Targets


@pytest.mark.parametrize(
    ("target", "expected", "names"),
    [(0, [1, 4], ("b", "c")), (-1, [3, 6], ("a", "b")), (-2, [2, 5], ("a", "c")),
     (1, [2, 5], ("a", "c")), (np.int64(2), [3, 6], ("a", "b")), ("-3", [1, 4], ("b", "c")),
     ("a", [1, 4], ("b", "c")), ("b", [2, 5], ("a", "c"))],
)  # fmt: skip
def test_the_target_by_index_or_name(target, expected, names):
    _, y, feature_names, _ = load("a,b,c\n1,2,3\n4,5,6\n", target=target)
    assert (y.tolist(), feature_names) == (expected, names)


def test_a_target_that_is_no_column():
    text = "a,b,c\n1,2,3\n4,5,6\n"
    fails(text, r"has no column 'price'; its columns are 'a', 'b', 'c'", target="price")
    fails(text, "target must be from -3 to 2, as .* has 3 columns, got 3", target=3)
    fails(text, "target must be from -3 to 2", target=-4)
    fails("1,2\n3,4\n", "has no header; give the column's index", target="a")
    for target in (True, None, 1.0):
        with pytest.raises(TypeError, match="target must be"):
            load(text, target=target)


def test_the_rule_of_classes(rng):
    def task(values, **options):
        text = "a,y\n" + "".join(f"{i * 0.5},{v}\n" for i, v in enumerate(values))
        return "number" if load(text, **options).classes is None else "class"

    assert task(np.arange(60) % 20) == "class"
    assert task(np.arange(80) % 21 * 2) == "number"
    assert task(np.arange(2600) % 26) == "class"
    assert task(np.arange(2600) % 26 + 1) == "class"
    assert task(np.arange(2600) % 26 + 2) == "number"
    assert task(np.arange(400) % 26) == "number"
    assert task(np.arange(10)) == "number"
    assert task((np.arange(60) % 3) * 1.0) == "class"
    assert task((np.arange(60) % 3) + 0.5) == "number"
    assert task((np.arange(60) % 3) + 0.5, task="class") == "class"
    assert task(np.arange(60) % 3, task="number") == "number"
    assert task(["yes", "no"] * 9) == "class"


def test_whole_prices_are_numbers(rng):
    prices = rng.integers(50_000, 900_000, 60_000)
    _, y, _, classes = load("a,price\n" + "".join(f"{i % 7},{v}\n" for i, v in enumerate(prices)))
    assert classes is None
    np.testing.assert_array_equal(y, prices)


def test_labels_are_texts():
    text = "a,b\n1,1_1\n2,11\n3, 1_1 \n4,11\n5,1_1\n"
    _, y, _, classes = load(text)
    assert classes.tolist() == ["11", "1_1"]
    assert y.tolist() == [1, 0, 1, 0, 1]
    assert load("a,b\n1,10\n2,9\n3,10\n4,9\n").classes.tolist() == ["9", "10"]
    fails("a,b\n1,1\n2,1.0\n3,2\n4,2\n", "labels '1' and '1.0', which are one number")


@pytest.mark.parametrize(
    ("sep", "values", "cell"),
    [
        (";", ["3,5", "1.500,5"], "3,5"),
        (";", ["1.500.000", "2.500.000"], "1.500.000"),
        (",", ['"1,500"', '"2,500"'], "1,500"),
        (",", ["1 500", "2 500"], "1 500"),
        (",", ["1\u00a0500", "2\u202f500"], r"1\\xa0500"),
    ],
)
def test_numbers_with_odd_marks_are_no_classes(sep, values, cell):
    text = f"a{sep}b\n" + "".join(f"{i}.5{sep}{values[i % 2]}\n" for i in range(40))
    message = f"line 2, column 'b': '{cell}' is not a number; write numbers with .*task='class'"
    fails(text, message)
    assert len(load(text, task="class").classes) == 2


def test_labels_with_units_are_classes():
    text = "a,b\n" + "".join(f"{i},{['20%', '$30'][i % 2]}\n" for i in range(40))
    assert load(text).classes.tolist() == ["$30", "20%"]


@pytest.mark.parametrize("task", ["auto", "class"])
def test_one_truth_value_is_not_two_classes(task):
    fails(
        "a,b\n1,true\n2,True\n3,False\n4,False\n", "'True' and 'true', which are one truth", task=task
    )
    assert load("a,b\n1,true\n2,False\n3,False\n", task=task).classes.tolist() == ["False", "true"]
    assert load("a,b\n1,cat\n2,Cat\n3,cat\n", task=task).classes.tolist() == ["Cat", "cat"]


def test_targets_that_are_neither():
    numbers = "a,b\n" + "".join(f"{i},{i * 0.5}\n" for i in range(40))
    fails(numbers + "3,1O.5\n", "line 42, column 'b': '1O.5' is not a number.*task='class'")
    names = "a,b\n" + "".join(f"{i},n{i}\n" for i in range(40))
    fails(names, "40 different values in 40 rows; these are no classes")
    fails(numbers, "40 different values in 40 rows; these are no classes", task="class")
    fails(names, "line 2, column 'b': 'n0' is not a number", task="number")
    fails(names, "task must be one of 'auto', 'class', 'number', got 'regression'", task="regression")


# Cost


def test_memory_is_bounded(tmp_path, rng):
    path = tmp_path / "t.csv"
    np.savetxt(path, rng.normal(size=(150_000, 10)), delimiter=",")
    tracemalloc.start()
    try:
        X = fastnn.load_csv(path).X
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * X.nbytes


def test_a_good_file_takes_no_slow_pass(monkeypatch, frame):
    from fastnn._csv import reading, target

    def slow(*arguments):
        raise AssertionError("a slow pass")

    monkeypatch.setattr(reading, "find_fault", slow)
    monkeypatch.setattr(target, "find_fault", slow)
    assert load(frame.to_csv()).X.shape == (60, 3)


def test_pandas_is_imported_when_a_table_is_read():
    program = "import sys, fastnn; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_compression_plain_files_are_read(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2.5\n3,4.5\n", encoding="utf-8")
    program = """
import sys
sys.modules |= dict.fromkeys(("bz2", "lzma", "_bz2", "_lzma"))
import fastnn
assert fastnn.load_csv("t.csv").y.tolist() == [2.5, 4.5]
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_without_pandas_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"load_csv needs pandas: pip install 'fastnn-cpu\[demo\]'"):
        load("1,2\n3,4\n")
