"""What the reflector says: every change encoded once, and a cursor for each who is told. Sans-IO.

    changes ─► Batch (bytes, and which slice came from whom) ─► RouteLog, a ring ─► Reader: everything but one's own
    table   ─► Batch of the whole (for who joins) ────────────────────────────────► Reader, then the log behind it

A reflector sends almost the same bytes to every client. They are grouped by what must be equal for that (group.py), a
group's changes become bytes once (batch.py), and sending to a client is handing views of the shared bytes to its
socket (reader.py). Who is too slow loses its place and later gets the present state of what changed since.
"""
