"""BGP on the wire: bytes to values and back, nothing else. No socket, no clock, no state but caches.

    stream ─► framing ─► (type, body) ─┬─► open_message, capabilities ─► negotiated
                                       ├─► update ─► attribute_reader ─► attribute_cache ─► attribute_block
                                       ├─► notification
                                       └─► route_refresh
    routes ─► packing ─► UPDATEs, whole messages

What can be wrong has three strengths (errors.py, RFC 7606). Only the strongest is an exception, `ResetSession`; no
bytes make any other leave this package.
"""
