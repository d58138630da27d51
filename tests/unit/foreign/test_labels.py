"""Lists of labels: every way to write one, and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv.errors import InputError
from edgecv.foreign.edge import count_classes
from edgecv.foreign.labels import read_label_file, read_labels
from edgecv.spec.types import TensorSpec


def scores(*shape: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("scores", shape, "float32"),)


def written(folder: Path, content: bytes, name: str = "labels.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ngreat white shark\ndog\n",
        b"cat\ngreat white shark\ndog",
        b"cat\r\ngreat white shark\r\ndog\r\n",
        b"cat\rgreat white shark\rdog\r",
        b"\xef\xbb\xbfcat\ngreat white shark\ndog\n\n\n",
        b"  cat\ngreat white shark \ndog\n",
        b'["cat", "great white shark", "dog"]',
        b'{"0": "cat", "2": "dog", "1": "great white shark"}',
    ],
)
def test_forms_of_a_list(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    assert read_labels(path, scores(1, 3)) == ("cat", "great white shark", "dog")
    assert read_labels(str(path), scores(1, 3)) == ("cat", "great white shark", "dog")


def test_a_line_keeps_what_is_no_end_of_line(tmp_path: Path) -> None:
    # str.splitlines would make two lines of each of these
    path = written(tmp_path, "a\u2028b\nc\x0bd\né\n".encode())
    assert read_labels(path, scores(1, 3)) == ("a\u2028b", "c\x0bd", "é")


def test_a_text_may_begin_with_a_bracket(tmp_path: Path) -> None:
    assert read_label_file(written(tmp_path, b"[none]\ncat\n")) == ("[none]", "cat")


def test_labels_in_memory() -> None:
    assert read_labels(["a", "b"], scores(1, 2)) == ("a", "b")
    assert read_labels(("a", "b"), scores(1, 1, 1, 2)) == ("a", "b")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"cat\n\ndog\n", "labels.txt", "has an empty line 2 of 3.*fill it, or remove it"),
        (b"\ncat\n", "labels.txt", "has an empty line 1 of 2"),
        (b"", "labels.txt", "is empty"),
        (b" \r\n\n", "labels.txt", "is empty"),
        (b"caf\xe9\n", "labels.txt", "is not UTF-8 text: .* at byte 3"),
        (b"\xff\xfec\x00a\x00", "labels.txt", "is not UTF-8 text"),
        (b'["cat", ]', "labels.json", "is not JSON"),
        (b"[" * 100_000, "labels.json", "is not JSON"),
        (b'["cat", 3]', "labels.json", "label 1 is 3, not a name"),
        (b'["cat", " "]', "labels.json", "label 1 is ' ', not a name"),
        (b"[]", "labels.json", "holds no label"),
        (b"{}", "labels.json", "holds no label"),
        (b'"cat"', "labels.json", "holds str, not labels"),
        (b'{"0": "cat", "2": "dog"}', "labels.json", r"no index 1 \(it has '2'\)"),
        (b'{"cat": 0, "dog": 1}', "labels.json", r"no index 0 \(it has 'cat'\)"),
        (b'{"0": "cat", "0": "dog"}', "labels.json", "key '0' is there twice"),
        (b'{"0": ["n01440764", "tench"]}', "labels.json", "label 0 is .*, not a name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_label_file(written(tmp_path, content, name))
    assert name in str(caught.value)


def test_paths_that_hold_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_label_file(tmp_path / "none.txt")
    with pytest.raises(InputError, match="not a regular file"):
        read_label_file("/dev/zero")
    with pytest.raises(InputError, match="not a regular file"):
        read_label_file(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_label_file("a\0b")
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(InputError, match="no list of labels"):
        read_label_file(huge)


@pytest.mark.parametrize("given", [[], [1, 2], ["a", ""], {"a", "b"}, b"ab", 3])
def test_things_that_are_no_list(given: object) -> None:
    with pytest.raises(InputError):
        read_labels(given, scores(1, 2))  # type: ignore[arg-type]


def test_another_number_of_labels_names_both() -> None:
    with pytest.raises(InputError, match="labels: 3 labels for a model with 2 classes"):
        read_labels(["a", "b", "c"], scores(1, 2))


def test_the_background_class_of_imagenet() -> None:
    thousand = [f"class {i}" for i in range(1000)]
    with pytest.raises(InputError, match=r"1001 labels .* 1000 classes: .*'background'.*Remove"):
        read_labels(["background", *thousand], scores(1, 1000))
    with pytest.raises(InputError, match=r"1000 labels .* 1001 classes: .*'class 0'.*first line"):
        read_labels(thousand, scores(1, 1001))


def test_labels_are_for_classifiers() -> None:
    boxes = (*scores(1, 4), TensorSpec("boxes", (1, 4, 10), "float32"))
    with pytest.raises(InputError, match=r"one output of scores; this model has 'scores' \[1, 4\]"):
        read_labels(["a"], boxes)


@pytest.mark.parametrize(
    ("shape", "classes"), [((1, 5), 5), ((5,), 5), ((2, 5), 5), ((1, 1, 1, 5), 5), ((1, -1), None)]
)
def test_classes_of_an_output(shape: tuple[int, ...], classes: int | None) -> None:
    assert count_classes(scores(*shape)) == classes
