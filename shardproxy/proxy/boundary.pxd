# Where an exception of Python ends: it is reported, and becomes the fault of whatever was being served.

# To sys.unraisablehook, with the object in whose method it was; the fault is for who has to be told.
cdef int report(object error, object where) noexcept

# Of the loop's; None = there is none.
cdef void cancel_timer(object handle) noexcept
