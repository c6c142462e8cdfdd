"""Where an exception of Python ends.

What may raise is declared `except -1`, so an exception goes up the stack to the nearest boundary: one event of a socket
(`Watch.serve`), one timer (`Wheel.serve`), one callback of the loop, one waiter that gets its turn.  There it is reported
once, and the owner of the event is told by `crashed(fault)`: its exchange ends visibly, and all that it held is given back.
`noexcept` is left to functions in which no Python can run, and to these boundaries (tests/unit/test_noexcept.py).
"""

from cpython.exc cimport PyErr_SetObject, PyErr_WriteUnraisable

from shardproxy.http1.faults cimport Fault

from shardproxy.observe import shortages


# boundary
cdef int report(object error, object where) noexcept:
    """Returns NO_RESOURCES where memory ran out, otherwise INTERNAL_ERROR."""
    cdef bint is_memory = isinstance(error, MemoryError)
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(where)
    return Fault.NO_RESOURCES if is_memory else Fault.INTERNAL_ERROR


# boundary
cdef void cancel_timer(object handle) noexcept:
    if handle is not None:
        try:
            handle.cancel()
        except BaseException as error:
            report(error, handle)


# boundary
cdef void note_shortage(str action, int error, object subject) noexcept:
    try:
        shortages.note(action, error, "" if subject is None else str(subject))
    except BaseException as raised:
        report(raised, subject)
