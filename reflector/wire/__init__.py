"""BGP on the wire: bytes to values and back, nothing else. No socket, no clock, no state but caches.

    bytes ─► framing ─► (type, body) ─┬─► open_message, capabilities ─► negotiated
                                      ├─► update ─► attribute_cache ─► attribute_block
                                      ├─► notification
                                      └─► route_refresh

What can be wrong has three strengths (errors.py, RFC 7606). Only the strongest is an exception, `ResetSession`; no
bytes make any other leave this package.
"""
