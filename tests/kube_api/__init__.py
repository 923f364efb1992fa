"""A stand-in for Kubernetes' API server that keeps state: real HTTP, no cluster.

What it does as the real one does: resource versions of one counter, lists in pages that all show the same moment,
watches with bookmarks and 410, 409 on stale writes, AlreadyExists, preconditions, dry run, the status subresource,
generations, finalizers, server-side apply with owners of fields, merge and JSON patches, label and field selectors,
and of custom resources the schema of `config/crd`: pruning, validation and the CEL rules. For kubectl it tells which
resources there are, and answers with tables (tables.py).

What it does not do: authorize, admit (no webhooks, no policies), convert between versions, compress, serve protobuf, or
keep anything when it ends. Server-side apply knows maps, atomic lists and lists with keys, no sets.
Built-in kinds have no schema here. CEL is the package `common-expression-language`, without Kubernetes' own functions.
"""
