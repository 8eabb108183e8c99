"""Compression: smaller models, made from the aligned one, that load and answer like any other."""
