"""A policy that plans on another machine; see `deploy/policy_server.py`."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robofb.deploy.live.policy_process import NoPlanError
from robofb.deploy.policy_messages import (
    MOST_REPLY,
    MOST_SKIPPED,
    VERSION,
    Answer,
    Array,
    Greeting,
    Question,
    Welcome,
    check_packages,
)
from robofb.deploy.policy_wire import Wire, address_of, is_loopback, read_token
from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.errors import UserError, check_at_least, check_positive
from robofb.store.checks import check_same_spec
from robofb.types import EnvSpec, Obs

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemotePolicy:
    """The policy of a run, on a policy server.

    Attributes:
        address: host:port of the server.
        token: file with the word that it wants; read at each connection.
        spec: that the policy must have been made for.
        checkpoint: SHA-256 of the file that it must plan with.
        certificate: the server's own, in PEM: it is trusted, and no other. None speaks in the clear, to this
            machine alone.
        connect_s: what a connection may take to come about.
        plan_s: what a plan may take; well below what the policy's process may be silent for.
        tries: how often a lost server is looked for, until the policy is to begin anew.
        pause_s: between two tries.
    """

    address: str
    token: Path
    spec: EnvSpec
    checkpoint: str
    certificate: Path | None = None
    connect_s: float = 5.0
    plan_s: float = 1.0
    tries: int = 120
    pause_s: float = 0.5

    def __post_init__(self) -> None:
        check_at_least(self, 1, "tries")
        check_positive(self, "connect_s", "plan_s", "pause_s")
        _check_address(self.address, self.certificate)

    def make(self) -> RemotePlans:
        """Connect; the server's policy is warm.

        Raises:
            UserError: there is no such server, or it refuses, or plans for something else.
        """
        check_packages()
        plans = RemotePlans(self)
        plans.connect()
        return plans

    def connect(self, client: str) -> Wire:
        """Return a connection to drive over.

        Args:
            client: a secret of whoever drives: who has it may come back while the server waits for it yet.

        Raises:
            UserError: as for `make`.
        """
        name = f"policy_server={self.address}"
        greeting = Greeting(VERSION, read_token("policy_token", self.token), True, client)
        try:
            wire = Wire(self._secured())
        except OSError as error:
            raise UserError(f"{name}: {error}") from error
        try:
            wire.send(greeting, self.connect_s)
            self._check(wire.receive(Welcome, MOST_REPLY, self.connect_s), name)
        except (OSError, BadMessageError) as error:
            wire.close()
            hint = "" if self.certificate else "; where it speaks TLS, say policy_certificate=..."
            raise UserError(f"{name}: {error}{hint}") from error
        except UserError:
            wire.close()
            raise
        return wire

    def _secured(self) -> socket.socket:
        """Return an open connection to the server, and to no other."""
        own = None if self.certificate is None else _der(self.certificate)
        address = address_of("policy_server", self.address)
        connection = socket.create_connection(address, self.connect_s)
        if own is None:
            return connection
        try:
            secured = _trusting(own).wrap_socket(connection)
        except OSError:
            connection.close()
            raise
        if secured.getpeercert(binary_form=True) != own:
            secured.close()
            raise ssl.SSLError(f"its certificate is not {self.certificate}")
        return secured

    def _check(self, welcome: Welcome, name: str) -> None:
        if welcome.refused:
            raise UserError(f"{name}: {welcome.refused}")
        try:
            spec = EnvSpec.from_dict(welcome.spec)
        except ValueError as error:
            raise BadMessageError(f"no spec: {error}") from error
        check_same_spec(spec, self.spec, name)
        if welcome.checkpoint != self.checkpoint:
            raise UserError(f"{name} plans with another checkpoint than the one here: copy the run")


def check_remote(address: str, token: str | Path, certificate: Path | None) -> None:
    """Refuse an address and files with which no server can be reached; see `RemotePolicy`."""
    _check_address(address, certificate)
    read_token("policy_token", token)
    if certificate is not None:
        _der(certificate)


def _check_address(address: str, certificate: Path | None) -> None:
    host, _ = address_of("policy_server", address)
    if certificate is None and not is_loopback(host):
        raise UserError(f"policy_server={address}: say policy_certificate=FILE too")


def _trusting(certificate: bytes) -> ssl.SSLContext:
    """Return what trusts one certificate (DER); under which name it is reached is all the same then."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # of a certificate that somebody else signed
    context.load_verify_locations(cadata=certificate)
    return context


def _der(certificate: Path) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(certificate.read_text().strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no certificate in PEM"
        raise UserError(f"policy_certificate={certificate}: {reason}") from error


class RemotePlans:
    """Ask a server for plans; where it is slow or gone, give none, and look for it meanwhile.

    It knows nothing of an episode after it was lost: the policy begins anew then, with the same seed.

    Args:
        source: of connections.
    """

    def __init__(self, source: RemotePolicy) -> None:
        self._source, self._client = source, secrets.token_hex(16)
        self._found: deque[Wire] = deque()  # by the thread that looks for a server
        self._looking: threading.Thread | None = None
        self._closed = threading.Event()
        self._number = self._skipped = 0
        self._seed = 0
        self._tell_seed = True
        self._wire: Wire | None = None

    def connect(self) -> None:
        """Connect to the server.

        Raises:
            UserError: see `RemotePolicy.make`.
        """
        self._wire = self._source.connect(self._client)

    def begin(self, seed: int) -> None:
        """Start an episode; look again for a server that was given up."""
        self._seed, self._tell_seed, self._skipped = seed, True, 0
        if self._connected() is None:
            self._look()

    def skip(self) -> None:
        """Know that control steps passed for which nobody asked."""
        self._skipped = min(self._skipped + 1, MOST_SKIPPED)

    def plan(self, obs: Obs) -> np.ndarray:
        """Return actions (n, A) from observations (1, ...).

        Raises:
            NoPlanError: the server is slow or gone.
        """
        wire = self._connected()
        if wire is None:
            raise NoPlanError(f"no policy server at {self._source.address}")
        self._number += 1
        arrays = {key: Array.of(values[0].numpy()) for key, values in obs.items()}
        question = Question(self._number, self._seed if self._tell_seed else None, self._skipped, arrays)
        self._tell_seed, self._skipped = False, 0
        try:
            return self._ask(wire, question)
        except (OSError, BadMessageError) as error:
            LOG.warning("policy_server=%s: %s; looking for it", self._source.address, error)
            wire.close()
            self._wire, self._tell_seed = None, True
            self._look()
            raise NoPlanError(f"policy_server={self._source.address}: {error}") from error

    def close(self) -> None:
        """Leave the server, and look for none; safe twice."""
        self._closed.set()
        if self._looking is not None:
            self._looking.join()
        for wire in (self._connected(), *self._found):
            if wire is not None:
                wire.close()

    def _ask(self, wire: Wire, question: Question) -> np.ndarray:
        until_s = time.monotonic() + self._source.plan_s
        wire.send(question, self._source.plan_s)
        answer = wire.receive(Answer, MOST_REPLY, until_s - time.monotonic())
        if answer.actions is None or answer.number != question.number:
            raise BadMessageError(answer.refused or "an answer to another question")
        actions = answer.actions.values()
        if actions.ndim != 2 or actions.shape[1:] != self._source.spec.action.shape:
            raise BadMessageError(f"actions of shape {list(actions.shape)}")
        return actions

    def _connected(self) -> Wire | None:
        if self._wire is None and self._found:
            self._wire = self._found.popleft()
        return self._wire

    def _look(self) -> None:
        """Begin to look for the server, unless somebody does already."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._find, daemon=True)
            self._looking.start()

    def _find(self) -> None:
        last = ""
        for _ in range(self._source.tries):
            if self._closed.is_set():
                return
            try:
                self._found.append(self._source.connect(self._client))
            except UserError as error:
                if str(error) != last:
                    LOG.warning("%s", error)
                last = str(error)
            else:
                LOG.warning("policy_server=%s: there again", self._source.address)
                return
            self._closed.wait(self._source.pause_s)
        LOG.warning("%s; given up until the policy is to go on", last)
