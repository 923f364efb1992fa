"""The session machine: BGP's finite state machine (RFC 4271, 8) as a table, and the engine that runs it. Sans-IO.

    states      the table: (state, input) -> (action, next state); a missing row is the FSM error
    diagram     the table as the handbook shows it
    settings    what one session is configured with, from the plan
    local_open  the OPEN that we send
    open_check  what is wrong with the OPEN that the peer sent
    events      what a session tells its user
    restart     graceful restart of the peer: facts, and which routes outlive the session
    timers      the four timers of a session, as deadlines
    machine     Session: one connection from the attempt to make it to its end
    collision   which of two connections to one peer stays
    neighbor    Neighbor: the sessions of one peer, one after the other or two at once

Nothing here knows a clock, a socket or a source of randomness: `now` (seconds of any monotonic clock) and the random
numbers come from the caller, bytes go in and out, and the next deadline is a return value.
"""
