"""The JSON API of a running peer."""
