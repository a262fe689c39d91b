"""What moving content promises."""
