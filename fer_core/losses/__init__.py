"""The center cosine loss and the baselines it is compared with, one file each, behind one interface."""
