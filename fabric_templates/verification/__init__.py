"""Sessions as both ends tell of them, against the plan: who is to be fixed, and what is wrong there.

    what a switch prints ─► readers ─┐
    BGPNodeStatus ─► speakers ───────┼─► End per session ─► pairs ─► diagnosis (down), prefixes (up) ─► problems
    plan ────────────────────────────┘

Everything here is text and values in, problems out: who asks the switch, and how, is the face's business.
"""
