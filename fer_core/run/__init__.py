"""Records of one run: its configuration, its jobs and its receipts. Plain values, JSON both ways."""
