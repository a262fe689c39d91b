"""One running member: a folder kept the same as the others."""
