"""Servos of Feetech's STS series on one serial port, one question at a time, through feetech-servo-sdk."""

from __future__ import annotations

import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from robofb.deploy.arms.arm import ArmError, LinkLostError
from robofb.errors import UserError

BAUD_RATES = (38_400, 57_600, 115_200, 128_000, 250_000, 500_000, 1_000_000)
_ERRORS = {1: "input voltage", 2: "position sensor", 4: "overheated", 8: "overcurrent", 32: "overload"}
_Got = TypeVar("_Got")


class Reply(NamedTuple):
    """What a servo answered.

    Attributes:
        data: of the registers that were asked for.
        errors: what it says is wrong with itself, in words.
    """

    data: bytes
    errors: tuple[str, ...]


class _BadAnswerError(ArmError):
    """A servo did not answer, or not soundly; the same question may do better."""


class FeetechBus:
    """Ask servos, and tell them; who does not answer soundly is asked again.

    Args:
        port: of the adapter, such as /dev/ttyACM0.
        baudrate: one of `BAUD_RATES`.
        names: of the servos, by id.
        answer_s: how long all answers to one question may take.
        retries: how often a question is put again.
    """

    def __init__(
        self, port: str, baudrate: int, names: Mapping[int, str], answer_s: float, retries: int
    ) -> None:
        self.port, self.baudrate, self.names = port, baudrate, dict(names)
        self.answer_s, self.retries = answer_s, retries
        self._sdk: Any = None
        self._packets: Any = None
        self._port: Any = None

    def open(self) -> None:
        """Open the port; asks and tells nobody anything.

        Raises:
            UserError: it cannot be opened, or a package is missing.
        """
        try:
            import scservo_sdk
        except ImportError as error:
            raise UserError("feetech-servo-sdk is missing: pip install 'robofb[deploy]'") from error
        self.close()
        self._sdk, self._packets = scservo_sdk, scservo_sdk.PacketHandler(0)
        port = scservo_sdk.PortHandler(self.port)
        try:
            port.setBaudRate(self.baudrate)
            self._port = port
            port.ser.exclusive = True  # two programs on one bus garble each other's packets
        except (OSError, termios.error) as error:
            self.close()
            raise UserError(
                f"port={self.port}: {error}; is the arm plugged in, and may you use the port (group dialout)?"
            ) from error
        port.ser.timeout = 0.001  # the SDK polls: let it sleep meanwhile
        port.ser.write_timeout = self.answer_s

    def close(self) -> None:
        """Let the port go; safe twice."""
        if self._port is not None:
            self._port.closePort()
            self._port = None

    def name_of(self, servo: int) -> str:
        """Return how a servo is called in messages."""
        return f"servo {servo} ({self.names[servo]})"

    def read_all(self, address: int, size: int) -> dict[int, Reply]:
        """Return `size` registers from `address` on of every servo, by id, asked by one sync read.

        Raises:
            ArmError: one did not answer soundly, though it was asked again.
            LinkLostError: not one answers, or the port is gone.
        """
        try:
            return self._retried(lambda: self._sync_read(address, size))
        except _BadAnswerError:
            self._tell_the_silent()
            raise

    def read(self, servo: int, address: int, size: int) -> Reply:
        """Return `size` registers of one servo from `address` on.

        Raises:
            ArmError: as for `read_all`.
        """

        def ask() -> Reply:
            with self._link() as port:
                self._check(self._packets.readTx(port, servo, address, size))
                port.setPacketTimeoutMillis(1000 * self.answer_s)
                return self._reply(port, servo, size)

        return self._retried(ask)

    def write(self, servo: int, address: int, data: bytes) -> None:
        """Write registers of one servo; it has said that it did.

        Raises:
            ArmError: as for `read_all`.
        """

        def ask() -> None:
            with self._link() as port:
                self._check(self._packets.writeTxOnly(port, servo, address, len(data), list(data)))
                port.setPacketTimeoutMillis(1000 * self.answer_s)
                self._reply(port, servo, 0)

        self._retried(ask)

    def write_all(self, address: int, data: Mapping[int, bytes]) -> None:
        """Write registers of several servos by one sync write, to which nobody answers.

        Raises:
            LinkLostError: the port is gone.
        """
        size = len(next(iter(data.values())))
        parts = [byte for servo, own in data.items() for byte in (servo, *own)]
        with self._link() as port:
            self._check(self._packets.syncWriteTxOnly(port, address, size, parts, len(parts)))

    def _sync_read(self, address: int, size: int) -> dict[int, Reply]:
        servos = list(self.names)
        with self._link() as port:
            self._check(self._packets.syncReadTx(port, address, size, servos, len(servos)))
            port.setPacketTimeoutMillis(1000 * self.answer_s)
            return {servo: self._reply(port, servo, size) for servo in servos}

    def _reply(self, port: Any, servo: int, size: int) -> Reply:
        """Return a servo's next answer of that size; what others say, or say too late, is passed over."""
        while True:
            packet, result = self._packets.rxPacket(port)
            if result == self._sdk.COMM_RX_TIMEOUT:
                raise _BadAnswerError(f"{self.name_of(servo)} does not answer")
            if result != self._sdk.COMM_SUCCESS:
                raise _BadAnswerError(f"{self.name_of(servo)} sends bad packets")
            _, _, speaker, length, bits, *data, _ = packet
            if speaker == servo and length == size + 2:
                return Reply(bytes(data), tuple(text for bit, text in _ERRORS.items() if bits & bit))

    def _retried(self, ask: Callable[[], _Got]) -> _Got:
        for _ in range(self.retries + 1):
            try:
                return ask()
            except _BadAnswerError as error:
                failed = error
        raise _BadAnswerError(f"{failed}, asked {self.retries + 1} times") from failed

    def _tell_the_silent(self) -> None:
        """Name every servo that does not answer; return where each of them does.

        Raises:
            ArmError, LinkLostError: some are silent, or all.
        """
        silent = [servo for servo in self.names if not self._answers(servo)]
        if len(silent) == len(self.names):
            self.close()
            raise LinkLostError(f"no servo answers on {self.port}: is the arm's power on?")
        if silent:
            raise ArmError(f"{', '.join(map(self.name_of, silent))} does not answer")

    def _answers(self, servo: int) -> bool:
        """Return whether a servo says anything; bad packets are something."""
        with self._link() as port:
            self._check(self._packets.readTx(port, servo, 3, 2))
            port.setPacketTimeoutMillis(1000 * self.answer_s)
            return self._packets.readRx(port, servo, 2)[1] != self._sdk.COMM_RX_TIMEOUT

    @contextmanager
    def _link(self) -> Iterator[Any]:
        """Lend the port, without what an earlier exchange left on it.

        Raises:
            LinkLostError: it is not open, or fails; then it is closed.
        """
        if self._port is None:
            raise LinkLostError(f"{self.port} is not connected")
        try:
            self._port.is_using = False  # as the SDK leaves it where an exchange breaks off
            self._port.ser.reset_input_buffer()
            yield self._port
        except (OSError, termios.error) as error:  # pyserial's are OSErrors, but not those of its flush
            self.close()
            raise LinkLostError(f"{self.port} is gone: {error}") from error

    def _check(self, result: int) -> None:
        """Raise where a packet could not be sent whole."""
        if result != self._sdk.COMM_SUCCESS:
            raise LinkLostError(f"{self.port} takes no packets: {self._packets.getTxRxResult(result)}")
