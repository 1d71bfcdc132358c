import errno
import os

import fakes
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken_images import ODD_NAMES, make_zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core import listfile
from fer_core.collection import OPTIONS, SourceOptions, collect, list_images
from fer_core.errors import ImageError, SourceError
from fer_core.listfile import ListLimits
from fer_core.listing import FolderLinks, _matches, walk
from fer_core.run import ShardJob
from fer_core.schema import INVENTORY
from fer_core.shard import label_shard
from fer_core.store import open_store, read_uri
from fer_core.system_files import is_system_file


def uris(source, options=OPTIONS):
    inventory = list_images(str(source), options)
    assert inventory.schema == INVENTORY
    listed = inventory["image_uri"].to_pylist()
    assert listed == sorted(set(listed))
    return listed


def below(folder, source=None):
    return [uri.removeprefix(f"{folder}/") for uri in uris(source or folder)]


def failure(source):
    with pytest.raises(SourceError) as caught:
        list_images(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


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
        expected = ["a/back", "a/deep/z.jpg", "a/y.jpg", "b", "loop", "sub/x.jpg", "up/again"]
        assert uris(tmp_path / "in", SourceOptions(follow_links=True)) == [f"{tmp_path}/in/{name}" for name in expected]
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
        assert "no regular file" in failure(tmp_path / "pipe.jpg")

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
        assert "leads nowhere" in failure(tmp_path / "broken")
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
        assert listfile.entries("list.CSV", text.encode()) == expected

    def test_txt_keeps_everything_but_line_ends(self):
        names = [" leading", "trailing ", "#hash", "a\u2028b\x0bc\x85d", "quote\"'", "tab\there"]
        assert listfile.entries("list.txt", ("\ufeff" + "\r\n".join(names) + "\n\n  \n").encode()) == names

    def test_parquet_takes_the_named_or_the_first_column(self):
        for table, expected in (
            (pa.table({"x": ["no"], "Image": pa.array(["yes"]).dictionary_encode()}), ["yes"]),
            (pa.table({"anything": pa.array(["yes", None], pa.large_string())}), ["yes"]),
        ):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            assert listfile.entries("x.parquet", sink.getvalue().to_pybytes()) == expected

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
        assert listfile.entries("x.txt", "\n".join(names).encode()) == names


class TestFolderLinks:
    """Which folders are entered, on a real disk."""

    @pytest.fixture
    def album(self, tmp_path):
        """Photographs of one user with links to those of another, to a file of theirs, and to what the system makes up."""
        fill(tmp_path, "album/mine/x.jpg", "theirs/y.jpg", "theirs/deep/z.jpg")
        links = {"theirs": "../theirs", "up": "..", "all": "/", "mine/again": ".", "proc": "/proc", "dev": "/dev", "same": "mine"}
        for name, target in links.items():
            (tmp_path / "album" / name).symlink_to(target)
        (tmp_path / "album/one.jpg").symlink_to("../theirs/y.jpg")
        (tmp_path / "album/secrets.jpg").symlink_to("/proc/self/environ")
        return tmp_path / "album"

    def test_those_that_lead_out_are_left_out_and_named(self, album):
        found = collect(str(album))
        assert [uri.removeprefix(f"{album}/") for uri in found.images["image_uri"].to_pylist()] == [
            "mine/again",
            "mine/x.jpg",
            "one.jpg",
            "same",
            "secrets.jpg",
        ]
        assert found.left_out == tuple(f"{album}/{name}" for name in ("all", "dev", "proc", "theirs", "up"))
        with pytest.raises(ImageError, match="in /proc, /sys or /dev"):
            read_uri(f"{album}/secrets.jpg", 100)

    def test_following_links_enters_all_but_what_the_system_makes_up(self, album, tmp_path):
        (album / "all").unlink()
        (album / "up").unlink()
        found = collect(str(album), SourceOptions(follow_links=True))
        listed = [uri.removeprefix(f"{album}/") for uri in found.images["image_uri"].to_pylist()]
        assert listed == ["mine/again", "mine/x.jpg", "one.jpg", "same", "secrets.jpg", "theirs/deep/z.jpg", "theirs/y.jpg"]
        assert found.left_out == (f"{album}/dev", f"{album}/proc")

    def test_patterns_do_not_lead_out_either(self, album):
        for pattern in ("**", "**/*.jpg", "*/*.jpg"):
            found = [uri.removeprefix(f"{album}/") for uri in uris(f"{album}/{pattern}")]
            assert not any(uri.startswith(("theirs/", "proc/", "up/", "all/", "dev/")) for uri in found), pattern
        assert "not entered" in failure(f"{album}/theirs*/*/*.jpg")
        assert uris(f"{album}/theirs/*.jpg") == [f"{album}/theirs/y.jpg"]  # the link was named
        assert uris(f"{album}/theirs") == [f"{album}/theirs/deep/z.jpg", f"{album}/theirs/y.jpg"]

    @pytest.mark.parametrize("source", ["/proc", "/proc/self", "/sys/**", "/dev", "/proc/self/environ", "/proc/*/environ", "/dev/null"])
    def test_the_system_is_no_source(self, source, tmp_path):
        assert "in /proc, /sys or /dev, where nothing is read" in failure(source)
        if "*" not in source:
            (tmp_path / "link").symlink_to(source)
            assert "in /proc, /sys or /dev" in failure(tmp_path / "link")

    def test_nothing_but_links_says_so(self, tmp_path):
        fill(tmp_path, "theirs/y.jpg")
        (tmp_path / "album").mkdir()
        (tmp_path / "album/theirs").symlink_to("../theirs")
        assert "1 folder links that were not entered, see --follow-links" in failure(tmp_path / "album")

    def test_the_system_is_known_by_its_file_system_wherever_it_is_mounted(self):
        """A folder of another name, as a chroot's /proc has."""
        status = os.stat("/proc/self/status")
        assert is_system_file("/mnt/other/self/status", status)
        assert not is_system_file("/mnt/other/x.jpg", os.stat(__file__))

    def test_a_folder_swapped_for_a_link_while_it_is_listed_is_not_entered(self, tmp_path):
        fill(tmp_path, "album/a/x.jpg", "album/b/x.jpg", "theirs/y.jpg")
        links = FolderLinks()
        walking = walk(str(tmp_path / "album"), links)
        first = next(walking).path.split("/")[-2]  # by now both folders are known
        (other,) = {"a", "b"} - {first}
        os.rename(tmp_path / "album" / other, tmp_path / "gone")
        (tmp_path / "album" / other).symlink_to("../theirs")
        assert list(walking) == []
        assert links.left_out == [f"{tmp_path}/album/{other}"]

    def test_a_list_may_name_files_behind_links(self, album, tmp_path):
        (tmp_path / "list.txt").write_text("album/theirs/y.jpg\nalbum/one.jpg\nalbum/secrets.jpg\nalbum/proc/self/status\n")
        for uri in uris(tmp_path / "list.txt"):
            if "theirs" in uri or "one" in uri:
                assert read_uri(uri, 100) == b"theirs/y.jpg"
            else:
                with pytest.raises(ImageError, match="in /proc, /sys or /dev"):
                    read_uri(uri, 100)

    def test_pipes_behind_names_of_pictures_are_not_waited_for(self, tmp_path):
        fill(tmp_path, "x.jpg")
        os.mkfifo(tmp_path / "a.jpg")
        (tmp_path / "list.txt").write_text("a.jpg\nx.jpg\n")
        assert below(tmp_path, tmp_path / "*.jpg") == ["x.jpg"]
        assert below(tmp_path, tmp_path / "list.txt") == ["a.jpg", "x.jpg"]
        with pytest.raises(ImageError, match="a pipe, socket or device"):
            read_uri(f"{tmp_path}/a.jpg", 10)

    def test_a_pattern_of_many_stars_takes_no_time_on_a_deep_path(self):
        names = ["a"] * 1500 + ["x.png"]
        assert not _matches(names, ["**", "a", "**", "a", "**", "*.jpg"])
        assert _matches(names, ["**", "a", "**", "a", "**", "*.png"])


class TestHostileLists:
    def test_names_that_are_too_long_cost_a_row(self, tmp_path):
        """Of 100,000 characters, which took 97 s each when the pattern of a scheme was tried at every place."""
        long = ["a" * 10**6, "b" * 10**6, "s3://bucket/" + "c" * 10**6, "d+" * 500_000 + "://x", "e@" * 10**5, "é" * 3000]
        (tmp_path / "list.txt").write_text("\n".join(["x.jpg", *long]))
        pq.write_table(pa.table({"uri": ["x.jpg", *long]}), tmp_path / "list.parquet")
        (tmp_path / "list.csv").write_text("\n".join(["uri", "x.jpg", *long]))
        for suffix in ("txt", "parquet", "csv"):
            found = uris(tmp_path / f"list.{suffix}")
            assert len(found) == 7
            assert max(map(len, found)) < 5000
            for uri in found:
                with pytest.raises(ImageError) as error:
                    read_uri(uri, 10)
                status, reason = ("missing", "the file is not there") if uri.endswith("x.jpg") else ("unsupported", "4,096 bytes")
                assert error.value.status == status
                assert reason in error.value.reason

    def test_a_root_that_holds_a_scheme_amid_its_name_stays_where_it_is(self, tmp_path):
        root = f"{tmp_path}/album odd://labels"
        open_store(root).write_bytes("x.jpg", b"1")
        assert (tmp_path / "album odd:" / "labels" / "x.jpg").read_bytes() == b"1"
        assert open_store(f"file://{tmp_path}/a").root == f"{tmp_path}/a"

    @pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
    def test_lists_beyond_the_limits_are_refused_in_one_line(self, tmp_path, suffix):
        names = [f"{number:04d}.jpg" for number in range(1001)]
        path = tmp_path / f"list.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table({"uri": names}), path, compression="zstd")
        else:
            path.write_text("\n".join(["uri", *names][suffix == "txt" :]) + "\n")
        for limits, option in ((ListLimits(rows=1000), "--max-list-rows"), (ListLimits(bytes=2000), "--max-list-bytes")):
            with pytest.raises(SourceError, match=f"list.{suffix} has more than .* {option}") as error:
                list_images(str(path), SourceOptions(list_limits=limits))
            assert "\n" not in str(error.value)
        assert list_images(str(path), SourceOptions(list_limits=ListLimits(1001, 20_000))).num_rows == 1001

    def test_a_small_parquet_file_of_many_megabytes_is_refused(self, tmp_path):
        names = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["a" * 3000])
        pq.write_table(pa.table({"uri": names}), tmp_path / "list.parquet", compression="zstd")
        assert (tmp_path / "list.parquet").stat().st_size < 20_000
        with pytest.raises(SourceError, match="more than 1,000,000 bytes"):
            list_images(str(tmp_path / "list.parquet"), SourceOptions(list_limits=ListLimits(bytes=10**6)))

    def test_a_bad_address_costs_a_row(self, tmp_path, monkeypatch):
        """Neither driver is installed here, nor is there any key for S3."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
        fill(tmp_path, "x.jpg")
        bad = ["gs://bucket/a.jpg", "az://container/a.jpg", "s3://bucket/a.jpg", "nosuch://x/y.jpg", "https://example.org/x.jpg"]
        secret = "s3://key:hunter2@bucket/a.jpg"
        (tmp_path / "list.txt").write_text("\n".join([*bad, secret, "x.jpg"]))
        found = uris(tmp_path / "list.txt")
        assert found == sorted([*bad, "s3://***:***@bucket/a.jpg", f"{tmp_path}/x.jpg"])
        run = fakes.config(str(tmp_path / "labels"))
        refs = tuple(fakes.ImageRef(uri, None, None, None) for uri in found)
        receipt = label_shard(ShardJob(run, "part-00000", refs), fakes.tools())
        assert (receipt.statuses["unsupported"], receipt.statuses["missing"]) == (4, 3)
        (part,) = (tmp_path / "labels/_staging").rglob("images/*.parquet")
        assert "hunter2" not in str(pq.read_table(part).to_pylist())
        (tmp_path / "alone.txt").write_text(secret)
        assert "credentials do not belong" in failure(tmp_path / "alone.txt")
