import errno
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.collection import list_file
from fer_core.collection.inventory import SourceOptions, collect, list_images
from fer_core.errors import ImageError
from fer_core.storage.store import open_store, read_uri
from tests.support.broken_images import ODD_NAMES, make_zoo
from tests.support.listed import below, failure, fill, uris


class TestEveryStorage:
    """One contract for local disks, memory and S3."""

    NAMES = ("a.jpg", "b/1.jpg", "b/2.png", "b/c d/ü %41#.jpg", "bb/x.jpg")

    @pytest.fixture
    def root(self, any_root):
        store = open_store(any_root)
        for name in self.NAMES:
            store.write_bytes(name, name.encode())
        return any_root

    def test_folder(self, root):
        assert uris(root) == uris(root + "/") == [f"{root}/{name}" for name in self.NAMES]
        assert uris(f"{root}/b") == [f"{root}/{name}" for name in self.NAMES if name.startswith("b/")]

    def test_what_is_listed_can_be_read(self, root):
        for row in list_images(root).to_pylist():
            data = read_uri(row["image_uri"], 1000)
            assert row["image_uri"] == f"{root}/{data.decode()}"
            assert row["bytes"] == len(data)
            assert row["modified_at"].year >= 2020

    def test_single_image(self, root):
        assert uris(f"{root}/b/c d/ü %41#.jpg") == [f"{root}/b/c d/ü %41#.jpg"]

    def test_pattern(self, root):
        assert below(root, f"{root}/*/[12].*") == ["b/1.jpg", "b/2.png"]
        assert below(root, f"{root}/**/*.jpg") == ["a.jpg", "b/1.jpg", "b/c d/ü %41#.jpg", "bb/x.jpg"]
        assert below(root, f"{root}/?.jpg") == ["a.jpg"]

    def test_a_name_that_looks_like_a_pattern_is_taken_verbatim(self, root):
        store = open_store(root)
        store.write_bytes("set [1]*/x.jpg", b"1")
        store.write_bytes("set 1 more/y.jpg", b"1")
        assert below(root, f"{root}/set [1]*") == ["set [1]*/x.jpg"]
        assert below(root, f"{root}/set [1]*/x.jpg") == ["set [1]*/x.jpg"]

    @pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
    def test_list_file(self, root, suffix):
        store = open_store(root)
        names = ["b/c d/ü %41#.jpg", f"{root}/a.jpg", "absent.jpg", "a.jpg"]
        if suffix == ".parquet":
            sink = pa.BufferOutputStream()
            pq.write_table(pa.table({"n": [1, 2, 3, 4], "Path": names}), sink)
            data = sink.getvalue().to_pybytes()
        else:
            data = "\n".join(["path", *names][suffix == ".txt" :]).encode()
        store.write_bytes(f"list{suffix}", data)
        rows = {row["image_uri"].removeprefix(f"{root}/"): row["bytes"] for row in list_images(f"{root}/list{suffix}").to_pylist()}
        assert rows == {"a.jpg": 5, "absent.jpg": None, "b/c d/ü %41#.jpg": len(b"b/c d/\xc3\xbc %41#.jpg")}

    def test_nothing_there(self, root):
        for source in (f"{root}/absent", f"{root}/absent.jpg", f"{root}/absent*"):
            assert source in failure(source)


class TestFolders:
    def test_the_zoo_is_listed_whole(self, tmp_path):
        expected = make_zoo(tmp_path / "zoo")
        assert below(tmp_path / "zoo") == sorted(expected)

    def test_odd_names_are_verbatim(self, tmp_path):
        fill(tmp_path, *ODD_NAMES, ".hidden", "..twice")
        assert below(tmp_path) == sorted([*ODD_NAMES, ".hidden", "..twice"])
        for name in ODD_NAMES:
            assert read_uri(f"{tmp_path}/{name}", 1000) == name.encode()
            assert uris(tmp_path / name) == [f"{tmp_path}/{name}"]

    def test_names_that_are_no_text(self, tmp_path):
        for name in (b"caf\xe9.jpg", b"caf\xc3\xa9.jpg", b"caf%E9.jpg"):
            with open(os.path.join(os.fsencode(tmp_path), name), "wb") as stream:
                stream.write(name)
        listed = uris(tmp_path)
        assert listed == sorted([f"{tmp_path}/café.jpg", f"{tmp_path}/caf%E9.jpg", f"file://{tmp_path}/caf%E9.jpg"])
        assert {read_uri(uri, 100) for uri in listed} == {b"caf\xe9.jpg", b"caf\xc3\xa9.jpg", b"caf%E9.jpg"}
        (tmp_path / "again.txt").write_text("\n".join(listed[:2]) + f"\nfile://{tmp_path}/caf%E9.jpg")
        assert set(uris(tmp_path / "again.txt")) <= set(listed)

    def test_a_list_of_untold_names_finds_them_again(self, tmp_path):
        path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
        with open(path, "wb") as stream:
            stream.write(b"1")
        (listed,) = uris(tmp_path)
        (tmp_path / "list.txt").write_text(listed)
        assert uris(tmp_path / "list.txt") == [listed]
        os.unlink(path)
        assert uris(tmp_path / "list.txt") == [listed]

    def test_links_keep_their_own_path(self, tmp_path):
        fill(tmp_path, "in/x.jpg", "out/y.jpg")
        (tmp_path / "in/file.jpg").symlink_to("../out/y.jpg")
        (tmp_path / "in/broken.jpg").symlink_to("nowhere")
        rows = {row["image_uri"]: row["bytes"] for row in list_images(str(tmp_path / "in")).to_pylist()}
        assert rows == {f"{tmp_path}/in/broken.jpg": None, f"{tmp_path}/in/file.jpg": 9, f"{tmp_path}/in/x.jpg": 8}

    def test_folders_behind_links_are_walked_once(self, tmp_path):
        fill(tmp_path, "in/sub/x.jpg", "out/y.jpg", "out/deep/z.jpg")
        for name, target in {"a": "../out", "b": "../out", "loop": ".", "up/again": "../sub"}.items():
            (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "in" / name).symlink_to(target)
        (tmp_path / "out/back").symlink_to("../in")
        found = collect(str(tmp_path / "in"), SourceOptions(follow_links=True))
        listed = [f"{tmp_path}/in/{name}" for name in ("a/deep/z.jpg", "a/y.jpg", "sub/x.jpg")]
        assert (found.images["image_uri"].to_pylist(), found.names.ignored) == (listed, {"link": 4})
        for name in ("a/back", "b", "loop", "up/again"):
            with pytest.raises(ImageError, match="a folder"):
                read_uri(f"{tmp_path}/in/{name}", 10)

    def test_a_link_as_source_stays_in_the_path(self, tmp_path):
        fill(tmp_path, "in/x.jpg")
        (tmp_path / "link").symlink_to("in")
        assert uris(tmp_path / "link") == [f"{tmp_path}/link/x.jpg"]

    def test_special_files_are_passed_over(self, tmp_path):
        fill(tmp_path, "x.jpg")
        os.mkfifo(tmp_path / "pipe.jpg")
        assert below(tmp_path) == ["x.jpg"]
        assert "not a regular file" in failure(tmp_path / "pipe.jpg")

    def test_a_folder_that_cannot_be_listed_is_a_row(self, tmp_path, monkeypatch):
        fill(tmp_path, "open/x.jpg", "closed/y.jpg")
        real = {name: getattr(os, name) for name in ("open", "scandir")}

        def refusing(name):
            def call(path, *rest, **options):
                if str(path).endswith("/closed"):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return real[name](path, *rest, **options)

            return call

        for name in real:
            monkeypatch.setattr(os, name, refusing(name))
        assert below(tmp_path) == ["closed", "open/x.jpg"]
        assert below(tmp_path, tmp_path / "**/*.jpg") == ["closed", "open/x.jpg"]
        with pytest.raises(ImageError) as caught:
            read_uri(f"{tmp_path}/closed", 10)
        assert (caught.value.status, caught.value.reason) == ("unreadable", "permission denied")
        assert "cannot list" in failure(tmp_path / "closed")

    def test_vanishing_while_it_is_listed(self, tmp_path, monkeypatch):
        fill(tmp_path, "a.jpg", "b.jpg")

        class Entry:
            def __init__(self, entry):
                self.path, self.name = tmp_path / entry.name, entry.name
                self.is_dir, self.is_file, self.is_symlink = entry.is_dir, entry.is_file, entry.is_symlink

            def stat(self, *, follow_symlinks):
                os.unlink(self.path)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

        class Scan(list):
            __enter__ = list.copy
            __exit__ = close = lambda self, *_: None

        real = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: Scan(map(Entry, real(path))))
        assert below(tmp_path) == ["a.jpg", "b.jpg"]
        assert os.listdir(tmp_path) == []

    def test_relative_sources_name_the_same_images_from_everywhere(self, tmp_path, monkeypatch):
        fill(tmp_path, "photos/x.jpg", "other/y.jpg")
        expected = [f"{tmp_path}/photos/x.jpg"]
        for cwd, source in ((".", "photos"), (".", "./photos/"), ("other", "../photos"), ("photos", "."), ("other", "../photos/*.jpg")):
            monkeypatch.chdir(tmp_path / cwd)
            assert uris(source) == expected
        assert uris(f"file://{tmp_path}/photos") == expected

    def test_dots_behind_links_are_not_cut_short(self, tmp_path, monkeypatch):
        fill(tmp_path, "far/away/x.jpg", "far/y.jpg")
        (tmp_path / "link").symlink_to("far/away")
        monkeypatch.chdir(tmp_path)
        assert uris("link/../y.jpg") == [f"{tmp_path}/link/../y.jpg"]

    def test_home(self, tmp_path, monkeypatch):
        fill(tmp_path, "photos/x.jpg")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert uris("~/photos") == [f"{tmp_path}/photos/x.jpg"]

    def test_nothing_to_list(self, tmp_path):
        (tmp_path / "empty/deep").mkdir(parents=True)
        (tmp_path / "broken").symlink_to("nowhere")
        (tmp_path / "blank.txt").write_text("\n \n")
        assert "nothing in" in failure(tmp_path / "empty")
        assert "nothing in" in failure(tmp_path / "blank.txt")
        assert "there is no" in failure(tmp_path / "absent")
        assert "is a broken link" in failure(tmp_path / "broken")
        assert "no file matches" in failure(tmp_path / "*.jpg")
        assert "no file matches" in failure(tmp_path / "absent/*.jpg")
        for source in ("", "https://example.org/photos", "s3://"):
            failure(source)

    def test_pattern_of_folders_says_how_to_go_below(self, tmp_path):
        fill(tmp_path, "a/x.jpg", "b/y.jpg")
        assert "**" in failure(tmp_path / "*")
        assert below(tmp_path, tmp_path / "*/**") == ["a/x.jpg", "b/y.jpg"]

    def test_list_of_web_addresses_keeps_them(self, tmp_path):
        (tmp_path / "list.txt").write_text("https://example.org/x.jpg\nx.jpg\n")
        assert uris(tmp_path / "list.txt") == [f"{tmp_path}/x.jpg", "https://example.org/x.jpg"]


class TestS3:
    def test_etags_markers_and_listed_objects(self, s3_root):
        store = open_store(s3_root)
        store.write_bytes("a.jpg", b"a")
        store.fs.pipe_file(f"{s3_root}/folder/", b"")
        row = list_images(s3_root).to_pylist()
        assert [one["image_uri"] for one in row] == [f"{s3_root}/a.jpg"]
        assert row[0]["etag"] == "0cc175b9c0f1b6a831c399e269772661"  # MD5 of "a", without the quotes of HTTP

    def test_a_local_list_may_name_objects(self, s3_root, tmp_path):
        open_store(s3_root).write_bytes("a.jpg", b"a")
        (tmp_path / "list.txt").write_text(f"{s3_root}/a.jpg\n{s3_root}/absent.jpg\nhere.jpg\n")
        rows = list_images(str(tmp_path / "list.txt")).to_pylist()
        assert [(row["image_uri"], row["bytes"]) for row in rows] == [
            (f"{tmp_path}/here.jpg", None),
            (f"{s3_root}/a.jpg", 1),
            (f"{s3_root}/absent.jpg", None),
        ]
        assert rows[1]["etag"]

    def test_no_such_bucket(self, s3_root):
        assert "no-such-bucket" in failure("s3://no-such-bucket-here/x")


class TestListFiles:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("image_uri,n\na.jpg,1\n", ["a.jpg"]),
            ("n,PATH\r\n1,a.jpg\r\n2,b.jpg", ["a.jpg", "b.jpg"]),
            ("file,uri\nno,yes\n", ["yes"]),
            ("\ufefffile;n\na,b.jpg;1\n", ["a,b.jpg"]),
            ("name,n\na.jpg,1\n", ["a.jpg"]),
            ("a.jpg,1\nb.jpg,2\n", ["a.jpg", "b.jpg"]),
            ('path\n"two\nlines, and ""quotes"".jpg"\n', ['two\nlines, and "quotes".jpg']),
            ("n,path\n1\n2,b.jpg\n\n", ["b.jpg"]),
            ("", []),
        ],
    )
    def test_csv(self, text, expected):
        assert list_file.read_list("list.CSV", text.encode()) == expected

    def test_txt_keeps_everything_but_line_ends(self):
        names = [" leading", "trailing ", "#hash", "a\u2028b\x0bc\x85d", "quote\"'", "tab\there"]
        assert list_file.read_list("list.txt", ("\ufeff" + "\r\n".join(names) + "\n\n  \n").encode()) == names

    def test_parquet_takes_the_named_or_the_first_column(self):
        for table, expected in (
            (pa.table({"x": ["no"], "Image": pa.array(["yes"]).dictionary_encode()}), ["yes"]),
            (pa.table({"anything": pa.array(["yes", None], pa.large_string())}), ["yes"]),
        ):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            assert list_file.read_list("x.parquet", sink.getvalue().to_pybytes()) == expected

    def test_unusable(self, tmp_path):
        pq.write_table(pa.table({"n": [1]}), tmp_path / "numbers.parquet")
        (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
        (tmp_path / "latin.txt").write_bytes("grüße.jpg".encode("latin-1"))
        (tmp_path / "long.csv").write_text("path\n" + "," * 200_000)
        for name in ("numbers.parquet", "torn.parquet", "latin.txt", "long.csv"):
            assert name in failure(tmp_path / name)

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff"), min_size=1).filter(
                lambda name: not name.isspace()
            )
        )
    )
    def test_txt_round_trip(self, names):
        assert list_file.read_list("x.txt", "\n".join(names).encode()) == names
