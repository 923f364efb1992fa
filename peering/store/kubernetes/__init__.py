"""The store of a cluster: its own API server, by list and watch.

| module | what |
|---|---|
| `location.py` | `--store kubernetes:CONTEXT?calico-crds`, taken apart |
| `sources.py` | which resources of the API a kind is read from, and which it is written to |
| `objects.py` | an object of the API as one of our documents, and back |
| `selection.py` | which objects of a source are watched, for the interests of a process |
| `changes.py` | the order in which this process has seen changes, and who waits for them |
| `connect.py`, `api.py`, `backoff.py` | HTTP: the official client's configuration and connections, trying again |
| `follower.py` | list and watch of one selection, for ever |
| `following.py` | all followers of a process, and what they know, joined |
| `reader.py` | readings past the followers |
| `labelling.py` | labels for what was written past this engine |
| `writer.py` | writes, and how a write whose answer was lost is found to be done |
| `event_series.py`, `events.py` | which events are written and when; their form |
| `lease.py`, `whole.py` | a whole declaration under one lock |
| `store.py` | the protocol |
"""
