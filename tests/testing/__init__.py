"""Tests of the simulated network itself."""
