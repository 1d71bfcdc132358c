"""Options that name an image of a labels root, as `find` and `forget` take them."""

import argparse


def add_named_image(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    """ROOT and one of `--image` and `--sha256`. Returns their group, for further ways to name."""
    parser.add_argument("root", metavar="ROOT", help="labels root: folder or s3:// prefix")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--image", metavar="URI", help="address of the image, as the tables have it")
    which.add_argument("--sha256", metavar="HEX", help="digest of the image's bytes")
    return which
