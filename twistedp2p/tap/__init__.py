"""twistd options; the only package that imports the global reactor."""
