"""The twistedp2p command: everything a person types and reads."""
