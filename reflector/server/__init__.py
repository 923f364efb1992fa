"""The reflector as a running server: its sockets, its peers, its loop."""
