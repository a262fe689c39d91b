"""What broke in the programs of docs/coverage.md, and holds here; other tests show most of it, as that table says."""
