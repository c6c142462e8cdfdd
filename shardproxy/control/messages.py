"""Every sentence that the supervisor and a child exchange.

    supervisor                       worker or controller
        |  <------------------------------  Ready
        |  Prepare(version) + descriptors ->                            a reload, in two phases
        |  <------------------------------  Prepared or Refused(reason)
        |  Commit or Abort  ------------->
        |  <------------------------------  Applied
        |  <------------------------------  Ask(what)                   the controller only: an operator wants something
        |  Answer(is_done, text)  ------->
        |  Drain(deadline_ns)  ---------->
        |  <------------------------------  Released
        |  <------------------------------  Drained(cut), then the child exits
        |  Reopen  ---------------------->
        |  Stop  ------------------------>

A message is one packet, encoded as msgpack with its name as the tag.  Times are CLOCK_MONOTONIC nanoseconds, which all
processes of the machine share.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Wish = Literal["reload", "restart", "drain", "scale", "endpoints"]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: everything is set up, and connections are being accepted."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: accept what waits in the queues, close the listening sockets, finish what runs, then exit.

    What still runs at `deadline_ns` is cut.  A second one replaces the deadline of the first.  `is_succeeded` says that
    another process accepts on the same sockets, so whoever waits in the queues is left to it.
    """

    deadline_ns: int
    is_succeeded: bool = False


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: exit at once, whatever is running."""


class Reopen(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: open the access logs anew, somebody has moved them away."""


class Drained(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: the drain is over and the exit follows; `cut` exchanges had not ended by themselves."""

    cut: int


class Released(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: it has closed its listening sockets; nobody can wait for it any more."""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: build the runtime of configuration `version` and say whether it can be; change nothing yet.

    With it come descriptors: a memfd that holds a `control.plan.Plan`, then a socket for each name in `sockets`.
    """

    version: int
    sockets: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: `version` is built and waits for `Commit`."""

    version: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: `version` cannot be built; `reason` is a plain sentence."""

    version: int
    reason: str


class Commit(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: serve what was prepared from now on; requests that run end on the former configuration."""

    version: int


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: forget what was prepared."""

    version: int


class Applied(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: `version` is what it serves."""

    version: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Controller to supervisor: an operator wants `what`; `workers` is the number for `scale`.

    For `endpoints`, `found` holds what clusters are to have from now on (`control.found`), made from configuration
    `version`; if another one is served by then, it is refused.

    Exactly one `Answer` with the same `id` follows, unless the supervisor ends before.
    """

    id: int
    what: Wish
    workers: int | None = None
    found: bytes = b""
    version: int = 0


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to controller: what became of the `Ask` with that `id`; `text` is a sentence for the operator.

    `is_again` says that it was not done for a reason that passes by itself: it can be asked for again.
    """

    id: int
    is_done: bool
    text: str
    is_again: bool = False


Message = (
    Ready
    | Drain
    | Stop
    | Reopen
    | Drained
    | Released
    | Prepare
    | Prepared
    | Refused
    | Commit
    | Abort
    | Applied
    | Ask
    | Answer
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(packet: bytes) -> Message:
    """The message in `packet`; raises `msgspec.DecodeError` if it is none of ours."""
    return _decoder.decode(packet)
