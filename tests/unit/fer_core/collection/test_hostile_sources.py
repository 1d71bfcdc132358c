"""Folder links, system files and list files that others made."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import SourceOptions, collect, list_images
from fer_core.collection.list_file import ListLimits
from fer_core.collection.local_listing import FolderLinks, walk
from fer_core.collection.name_filter import matches
from fer_core.errors import ImageError, SourceError
from fer_core.pipeline.shard import label_shard
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.storage.store import open_store, read_uri
from fer_core.storage.system_files import is_system_file
from tests.support import fakes
from tests.support.listed import below, failure, fill, uris


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
        listed = [uri.removeprefix(f"{album}/") for uri in found.images["image_uri"].to_pylist()]
        assert listed == ["mine/x.jpg", "one.jpg", "secrets.jpg"]
        assert (found.names.ignored, found.names.folders) == ({"link": 2}, {f"{album}/mine/again", f"{album}/same"})
        assert found.left_out == tuple(f"{album}/{name}" for name in ("all", "dev", "proc", "theirs", "up"))
        with pytest.raises(ImageError, match="in /proc, /sys or /dev"):
            read_uri(f"{album}/secrets.jpg", 100)

    def test_following_links_enters_all_but_what_the_system_makes_up(self, album, tmp_path):
        (album / "all").unlink()
        (album / "up").unlink()
        found = collect(str(album), SourceOptions(follow_links=True))
        listed = [uri.removeprefix(f"{album}/") for uri in found.images["image_uri"].to_pylist()]
        assert listed == ["mine/x.jpg", "one.jpg", "secrets.jpg", "theirs/deep/z.jpg", "theirs/y.jpg"]
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
        assert "in /proc, /sys or /dev, which ferflow does not read" in failure(source)
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
        assert not matches(names, ["**", "a", "**", "a", "**", "*.jpg"])
        assert matches(names, ["**", "a", "**", "a", "**", "*.png"])


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
        bad = ["abfs://container/a.jpg", "az://container/a.jpg", "s3://bucket/a.jpg", "nosuch://x/y.jpg", "https://example.org/x.jpg"]
        secret = "s3://key:hunter2@bucket/a.jpg"
        (tmp_path / "list.txt").write_text("\n".join([*bad, secret, "x.jpg"]))
        found = uris(tmp_path / "list.txt")
        assert found == sorted([*bad, "s3://***:***@bucket/a.jpg", f"{tmp_path}/x.jpg"])
        run = fakes.config(str(tmp_path / "labels"))
        refs = tuple(fakes.ImageRef(uri, None, None, None) for uri in found)
        receipt = label_shard(ShardJob(run, PartName(0), refs), fakes.tools())
        assert (receipt.statuses["unsupported"], receipt.statuses["missing"]) == (4, 3)
        (part,) = (tmp_path / "labels/_staging").rglob("images/*.parquet")
        assert "hunter2" not in str(pq.read_table(part).to_pylist())
        (tmp_path / "alone.txt").write_text(secret)
        assert "credentials do not belong" in failure(tmp_path / "alone.txt")
