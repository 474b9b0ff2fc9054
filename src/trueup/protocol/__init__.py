"""The messages of both ends of the wire: encode and decode them, without sockets."""
