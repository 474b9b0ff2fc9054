"""Both ends of the wire as functions from bytes to messages and back; no sockets here."""
