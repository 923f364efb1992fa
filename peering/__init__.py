"""The hub: what is declared, compiled into one session graph that every other room reads.

Resources and manifests come in, `plan()` compiles a snapshot of them, stores keep them. This room imports
nothing of ours; what two of the other rooms need lives here.
"""
