"""Trees that are accepted, and every kind that is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecv.data import find_pictures, scan
from edgecv.errors import InputError

MakeTree = Callable[..., Path]


def test_class_folders_directly(make_tree: MakeTree) -> None:
    root = make_tree("dog/b.png", "dog/a.jpg", "cat/deep/er/c.PNG")
    dataset = scan(root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.splits == ("",)
    assert [dataset.relative(i) for i in dataset.items] == [
        "cat/deep/er/c.PNG",
        "dog/a.jpg",
        "dog/b.png",
    ]
    assert [i.label for i in dataset.items] == [0, 1, 1]
    assert [i.group for i in dataset.items] == [dataset.relative(i) for i in dataset.items]
    assert all(i.path.is_absolute() and len(i.sha256) == 64 for i in dataset.items)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_splits_above_class_folders(make_tree: MakeTree, name: str) -> None:
    root = make_tree("train/a/1.png", "train/b/2.png", f"{name}/a/3.png", f"{name}/b/4.png")
    dataset = scan(root)
    assert dataset.splits == ("train", "val")
    assert len(dataset.of("val")) == 2
    with pytest.raises(InputError, match="no split 'test'"):
        dataset.of("test")


def test_classes_named_like_splits(make_tree: MakeTree) -> None:
    assert scan(make_tree("train/1.png", "test/2.png")).classes == ("test", "train")
    vehicles = make_tree("train/side/1.png", "car/2.png", root="vehicles")
    assert scan(vehicles).classes == ("car", "train")


def test_any_folder_name_is_a_class(make_tree: MakeTree) -> None:
    names = ("<script>alert(1)<", "été", "a b", '"; rm -rf', "-x")
    root = make_tree(*(f"{name}/{i}.png" for i, name in enumerate(names)))
    assert set(scan(root).classes) == set(names)


def test_a_name_that_is_not_utf8(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    os.rename(os.fsencode(root) + b"/b", os.fsencode(root) + b"/\xff\xfe")  # noqa: PTH104
    assert scan(root).classes == ("a", os.fsdecode(b"\xff\xfe"))


def test_hidden_files_are_ignored_and_others_listed(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png", ".hidden/3.png", "a/.4.png", "__MACOSX/5.png")
    (root / "a" / "Thumbs.db").write_bytes(b"")
    (root / "b" / "clip.mp4").write_bytes(b"")
    (root / "README.md").write_text("about")
    shutil.copy(root / "a/1.png", root / "loose.png")
    dataset = scan(root)
    assert len(dataset.items) == 2
    assert dataset.skipped == ("a/Thumbs.db", "b/clip.mp4", "loose.png")
    assert "3 files were skipped (1 x .db, 1 x .mp4, 1 x .png)" in dataset.warnings[0]


def test_formats_that_start_programs_are_skipped(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    (root / "a/evil.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    assert scan(root).skipped == ("a/evil.eps",)


def test_links_are_followed_once(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    (root / "a/loop").symlink_to(root / "a")
    (root / "a/linked.png").symlink_to(make_tree("x/9.png", "x/8.png", root="other") / "x/8.png")
    assert len(scan(root).items) == 3


def test_a_broken_link_is_an_error(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    (root / "a/gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png' is a broken link"):
        scan(root)


def test_a_pipe_is_not_read(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    os.mkfifo(root / "a/pipe.png")
    assert scan(root).skipped == ("a/pipe.png",)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        scan(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a folder"):
        scan(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in folder") as caught:
        scan(tmp_path / "empty")
    assert ".jpg" in caught.value.cure or "one folder per class" in caught.value.cure


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["only/1.png", "only/2.png"], "one class only: 'only'"),
        (["1.png", "2.png"], "lie in no class folder"),
        (["train/a/1.png", "train/b/2.png", "val/a/3.png"], "no folder for the class 'b'"),
        (["train/a/1.png", "train/b/2.png", "val/3.png"], "no folder for the class 'a'"),
        (["train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "old/a/5.png"], "beside"),
        (
            ["train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "valid/a/5.png"],
            "two folders for the split 'val'",
        ),
    ],
)
def test_trees_that_are_refused(make_tree: MakeTree, files: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        scan(make_tree(*files))
    assert caught.value.cure


def test_an_empty_class_folder_is_refused(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    (root / "c").mkdir()
    with pytest.raises(InputError, match="c' holds no pictures"):
        scan(root)


def test_the_same_picture_in_two_splits_is_refused(make_tree: MakeTree) -> None:
    root = make_tree("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    shutil.copy(root / "train/a/1.png", root / "test/a/copy.png")
    with pytest.raises(
        InputError, match=r"train/a/1\.png'.*same picture in two splits|same picture"
    ):
        scan(root)


def test_the_same_picture_in_two_classes_is_a_warning(make_tree: MakeTree) -> None:
    root = make_tree("a/1.png", "b/2.png")
    shutil.copy(root / "a/1.png", root / "b/copy.png")
    assert "filed under two classes, e.g. 'a/1.png' and 'b/copy.png'" in scan(root).warnings[0]


def test_find_pictures_needs_no_classes(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree("1.png", "deep/2.jpg")
    assert [p.name for p in find_pictures(root)] == ["1.png", "2.jpg"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        find_pictures(tmp_path / "none")


class TestGroups:
    FILES = ("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png")

    def test_groups_are_read(self, make_tree: MakeTree) -> None:
        root = make_tree(*self.FILES)
        text = "\ufefffile,group,note\ntrain/a/1.png,one,x\ntrain/b/2.png,one,y\n"
        (root / "groups.csv").write_text(text, encoding="utf-8")
        groups = {scan(root).relative(i): i.group for i in scan(root).items}
        assert groups == {
            "train/a/1.png": "one",
            "train/b/2.png": "one",
            "val/a/3.png": "val/a/3.png",
            "val/b/4.png": "val/b/4.png",
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,group\ntrain/a/1.png,x\nval/a/3.png,x\n", "group 'x' has .* in one split"),
            ("name,group\n", "columns"),
            ("", "columns"),
            ("file,group\ntrain/a/9.png,x\n", "no picture"),
            ("file,group\ntrain/a/1.png\n", "lacks a file or a group"),
            ("file,group\n,x\n", "lacks a file or a group"),
            ("file,group\ntrain/a/1.png,x\ntrain/a/1.png,y\n", "after 'x'"),
        ],
    )
    def test_tables_that_are_refused(self, make_tree: MakeTree, text: str, message: str) -> None:
        root = make_tree(*self.FILES)
        (root / "groups.csv").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            scan(root)

    def test_a_table_in_another_encoding(self, make_tree: MakeTree) -> None:
        root = make_tree(*self.FILES)
        (root / "groups.csv").write_bytes("file,group\nété,x\n".encode("utf-16"))
        with pytest.raises(InputError, match="UTF-8"):
            scan(root)


def test_progress_reaches_the_total(make_tree: MakeTree) -> None:
    calls: list[tuple[int, int]] = []
    scan(make_tree("a/1.png", "b/2.png"), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (2, 2)


def test_relabel_follows_the_model(make_tree: MakeTree) -> None:
    dataset = scan(make_tree("a/1.png", "b/2.png"))
    moved = dataset.relabel(["x", "b", "a"])
    assert [i.label for i in moved.items] == [2, 1]
    with pytest.raises(InputError, match="does not know the class 'b'"):
        dataset.relabel(["a", "c"])
