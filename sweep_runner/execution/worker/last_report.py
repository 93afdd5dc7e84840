"""A trial's last report waits a moment for its outcome, and they travel as one message instead of two."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sweep_runner.execution.worker.messages import Message

HOLD_S = 0.05
"""How long it waits: a trainable that goes on for longer has its last epoch recorded meanwhile."""


class LastReport:
    """Holds one message at a time, which whoever takes it sends; after `hold_s` a thread of its own does.

    Args:
        send: delivers it and returns when it is answered; raises SystemExit when the answer is stop.
        hold_s: how long it is held.
    """

    def __init__(self, send: Callable[[Message], None], hold_s: float = HOLD_S) -> None:
        self._send = send
        self._hold_s = hold_s
        self._message: Message | None = None
        self._timer: threading.Timer | None = None
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # of the message, and while it is being sent

    def hold(self, message: Message) -> None:
        """Holds a message. Take the one before first."""
        self._message = message
        self._timer = threading.Timer(self._hold_s, self._send_alone)
        self._timer.daemon = True
        self._timer.start()

    def take(self) -> Message | None:
        """The message, which is not held any more; None when there is none. Waits while it is being sent.

        Raises:
            SystemExit: it was sent, and answered with stop.
            Exception: it could not be sent.
        """
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            message, self._message = self._message, None
            if self._error is not None:
                raise self._error
        return message

    def _send_alone(self) -> None:
        with self._lock:
            message, self._message = self._message, None
            if message is None:
                return
            try:
                self._send(message)
            except BaseException as error:  # noqa: BLE001 - carried to who takes it
                self._error = error
