"""The programs as a person starts them: real processes, sockets on loopback, real folders."""
