# Where an exception of Python ends: it is reported, and becomes the fault of whatever was being served.

# To sys.unraisablehook, with the object in whose method it was; the fault is for who has to be told.
cdef int report(object error, object where) noexcept

# Of the loop's; None = there is none.
cdef void cancel_timer(object handle) noexcept

# A call has failed with this errno for want of something of our own; told to the log, see observe/shortages.py.
cdef void note_shortage(str action, int error, object subject) noexcept
