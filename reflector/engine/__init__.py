"""The reflector without its sockets: peers, what each said, what each is told. Sans-IO.

UPDATE ─► wire ─► import policy ─► Table ─► changes ─► update groups ─► outboxes
                  ownership
"""
