"""The code of docs/embedding.md and docs/examples, run as it stands there."""
