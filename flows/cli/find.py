"""`ferflow find`: every place of a labels root that names an image."""

import argparse

from flows.cli.named_image import add_named_image
from flows.output import print_result

HELP = """Lists every place of a labels root that names an image: labels, images and kept crops of every run, plans, reviews, and what
interrupted runs have staged. Copies of the image under other names are found by their content. Galleries, review pages, exports, face sets
and models that were made from the root are searched where they were written. The command changes nothing.

  ferflow find ~/labels --image ~/Photos/2024/party.jpg
  ferflow find ~/labels --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

It does not search results of queries and what earlier releases wrote outside of the root, and it does not recognise faces."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "find",
        help="list every place that names an image",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_named_image(parser)
    keys = "root, denied, addresses, contents, rows, places, outputs, expired"
    parser.add_argument("--json", action="store_true", help=f"one JSON object on stdout: {keys}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, whether or not anything names it."""
    from dataclasses import asdict

    import pyarrow as pa

    from fer_core.commit.deny_list import DenyList, read_deny_list
    from fer_core.commit.expired_list import read_expired_list
    from fer_core.erasure.named import image_uri, named_images, sha256_of
    from fer_core.erasure.outputs import aged_contents, held_outputs
    from fer_core.erasure.places import places_of
    from fer_core.errors import StoreError
    from fer_core.storage.paths import META
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    uris, contents = (image_uri(args.image),) if args.image else (), (sha256_of(args.sha256),) if args.sha256 else ()
    if not store.list_files(META):
        raise StoreError(f"there is no run in {store.url()}")
    named = named_images(store, uris, {*contents, *aged_contents(store, uris)})
    found = places_of(store, named)
    outputs = list(held_outputs(store, DenyList.new().extended(named.uris, named.contents)))
    deny = read_deny_list(store)
    denied = bool({*map(deny.uri, named.uris)} & deny.uris or {*map(deny.content, named.contents)} & deny.contents)
    known = read_expired_list(store)
    asked = pa.table({"image_uri": pa.array(uris, pa.string())}), pa.table({"image_sha256": pa.array(sorted(named.contents), pa.string())})
    expired = not found and (any(known.has_address(asked[0]).to_pylist()) or any(known.has_content(asked[1]).to_pylist()))
    rows = sum(place.rows for place in found)
    value = {
        "root": store.url(),
        "denied": denied,
        "addresses": sorted(named.uris),
        "contents": sorted(named.contents),
        "rows": rows,
        "places": [asdict(place) for place in found],
        "outputs": [asdict(output) for output in outputs],
        "expired": expired,
    }
    lines = [f"{place.rows:>7,}  {place.kind:<8} {place.path}" for place in found]
    lines += [f"{rows:,} rows in {len(found):,} files of {store.url()}; {len(named.uris):,} addresses, {len(named.contents):,} contents"]
    lines += [output.line for output in outputs]
    lines += ["it is denied to later runs"] if denied else []
    lines += ["its rows were removed for their age; later runs leave it out until it changes"] if expired else []
    print_result(args.json, value, lines)
    return 0
