"""Keys, invites, proofs and seals."""
