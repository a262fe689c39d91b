"""The file system below one folder, reached by handles only: `seam` says what is needed, `real` does it."""
