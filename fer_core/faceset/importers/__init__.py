"""One file a data set: its official layout -> samples."""
