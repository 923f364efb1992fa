"""What happens to the routes of the fabric when parts of it fail: propagated over the session graph, not guessed.

    Graph ─► Fabric ─► Partition (what is alike) ─► Propagation, Forwarding on representatives ─► Findings ─► answers

Pure: a question and a snapshot in, an answer out. docs/whatif.md says what is assumed of what nobody declares.
"""
