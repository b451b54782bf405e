"""Plan with a run's policy for an arm on another machine."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robofb.deploy.listening import check_host, listen_on
from robofb.deploy.live.policy_process import Plans, RunPolicy
from robofb.deploy.policy_messages import (
    MOST_GREETING,
    VERSION,
    Answer,
    Array,
    Greeting,
    Question,
    Welcome,
    check_array,
    check_packages,
    most_bytes,
)
from robofb.deploy.policy_wire import Wire, is_loopback, read_token, warn_of_readers
from robofb.deploy.teleop.web_guard import is_same_token, own_names
from robofb.deploy.teleop.web_messages import BadMessageError
from robofb.deploy.teleop.web_tls import make_certificate, server_context
from robofb.errors import UserError, check_at_least, check_threads
from robofb.files import file_errors
from robofb.run import Run
from robofb.types import EnvSpec

LOG = logging.getLogger(__name__)
GREETING_S = 5.0
MESSAGE_S = 10.0  # in which a message must be through that was begun
MOST_CLIENTS = 16
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}  # a machine that is gone: after 11 s


@dataclass
class ServerConfig:
    """What `robofb deploy server` reads.

    Attributes:
        run: run folder of a chunk policy, a residual or a student.
        checkpoint: latest, best, or a checkpoint's path.
        execute: actions executed per chunk; null takes the policy's own.
        threads: torch's CPU threads; other than the arm's machine has may change the last bits of a plan.
        device: where the policy computes: cpu, cuda, or auto (a GPU where there is one).
        host: address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 the whole network.
        port: 0 takes a free one.
        token: file with the word by which clients show that they may be here; null makes a new one and
            prints it.
        tls: folder of server_cert.pem and server_key.pem, which are made where it has neither; clients need
            the former. null speaks in the clear, to this machine alone.
    """

    run: str = "???"
    checkpoint: str = "best"
    execute: int | None = None
    threads: int = 1
    device: str = "cpu"
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    tls: str | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "threads")
        check_at_least(self, 0, "port")
        check_threads(self.threads)
        if self.port >= 2**16:
            raise UserError(f"port={self.port}: needs 0 (a free one) to 65535")
        check_host("host", self.host)
        if self.tls is None and not is_loopback(self.host):
            raise UserError(f"host={self.host}: others can reach that, so say tls=FOLDER too")


def serve(cfg: ServerConfig) -> None:
    """Print address and token, and serve plans until interrupted.

    Raises:
        UserError: there is no such policy, or the address, the token or the certificate is of no use.
    """
    check_packages()
    token = secrets.token_urlsafe(24)
    if cfg.token is not None:
        token = read_token("token", cfg.token)
        warn_of_readers("token", cfg.token)
    listen_on(cfg.host, cfg.port).close()  # else one would hear only after the policy is loaded
    context = None if cfg.tls is None else tls_of(Path(cfg.tls), cfg.host)
    source = RunPolicy(Path(cfg.run), cfg.checkpoint, cfg.execute, cfg.threads, cfg.device)
    planner = source.make()
    agent: Any = planner.agent
    checkpoint = Run.open(cfg.run).checkpoint_digest(cfg.checkpoint)
    with closing(PolicyServer(planner, agent.policy.spec, checkpoint, token, context)) as server:
        port = server.listen(cfg.host, cfg.port)
        if cfg.token is None:
            print(f"token {token}", flush=True)
        print(f"policy server {cfg.host}:{port}{'' if context is None else ', TLS'}", flush=True)
        server.run()


def tls_of(folder: Path, host: str) -> ssl.SSLContext:
    """Return the TLS settings that a folder holds; make its certificate and key where it has neither.

    Raises:
        UserError: they cannot be made, or are of no use.
    """
    cert, key = folder / "server_cert.pem", folder / "server_key.pem"
    if not cert.exists() and not key.exists():
        with file_errors(f"cannot make {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        make_certificate(folder, own_names(host), "server")
        LOG.info("made %s: clients need a copy", cert)
    return server_context(cert, key)


class PolicyServer:
    """Let clients with the token ask for a policy's spec, and one at a time for its plans.

    Args:
        plans: of the policy.
        spec: that it was made for.
        checkpoint: SHA-256 of its file.
        token: that clients show.
        context: of TLS; None speaks in the clear.
    """

    def __init__(
        self, plans: Plans, spec: EnvSpec, checkpoint: str, token: str, context: ssl.SSLContext | None = None
    ) -> None:
        self._plans, self._spec, self._token, self._context = plans, spec, token, context
        self._welcome = Welcome("", spec.to_dict(), checkpoint)
        self._most_bytes = most_bytes(spec)
        self._places = threading.Semaphore(MOST_CLIENTS)
        self._planning, self._changing = threading.Lock(), threading.Lock()
        self._silent: dict[Wire, None] = {}  # who has not shown the token yet, the oldest first
        self._driver: tuple[str, Wire] | None = None  # the client's own secret, and how to reach it
        self._listening: socket.socket | None = None

    def listen(self, host: str, port: int) -> int:
        """Open the address, and return the port.

        Raises:
            UserError: it cannot be had.
        """
        self._listening = listen_on(host, port)
        return int(self._listening.getsockname()[1])

    def run(self) -> None:
        """Serve whoever comes, each in a thread of its own."""
        assert self._listening is not None
        while True:
            connection, peer = self._listening.accept()
            try:
                wire = self._secured(connection)
            except OSError:
                connection.close()  # it is gone already
                continue
            if not self._has_place():
                wire.close()
                continue
            with self._changing:
                self._silent[wire] = None
            threading.Thread(target=self._serve, args=(wire, str(peer[0])), daemon=True).start()

    def close(self) -> None:
        """Listen no more; safe twice."""
        if self._listening is not None:
            self._listening.close()

    def _has_place(self) -> bool:
        """Take a place; where none is free, that of who has been silent for longest."""
        if self._places.acquire(blocking=False):
            return True
        with self._changing:
            oldest = next(iter(self._silent), None)
            if oldest is None:
                return False
            del self._silent[oldest]
            oldest.abort()
        return self._places.acquire(timeout=GREETING_S)

    def _serve(self, wire: Wire, peer: str) -> None:
        """Talk with one client until it leaves or errs."""
        try:
            with closing(wire):
                self._greet(wire, peer)
        except (OSError, BadMessageError) as error:
            LOG.info("%s left: %s", peer, error)
        finally:
            with self._changing:
                self._silent.pop(wire, None)
            self._places.release()

    def _secured(self, connection: socket.socket) -> Wire:
        """Return a wire over a new connection; TLS shakes hands at its first use, for it may have to wait."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # Linux has them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return Wire(connection)

    def _greet(self, wire: Wire, peer: str) -> None:
        """Let in who may come in."""
        greeting = wire.receive(Greeting, MOST_GREETING, GREETING_S)
        refused = self._refused(greeting, wire)
        if refused:
            LOG.warning("%s is refused: %s", peer, refused)
            wire.send(Welcome(refused), MESSAGE_S)
            return
        try:
            wire.send(self._welcome, MESSAGE_S)
            if greeting.drives:
                LOG.info("%s drives", peer)
                self._answer(wire)
        finally:
            self._leave(wire)

    def _refused(self, greeting: Greeting, wire: Wire) -> str:
        """Return why a client may not stay; take it for the driver where it may drive."""
        if greeting.version != VERSION:
            return f"the server speaks version {VERSION}, not {greeting.version}"
        if not is_same_token(greeting.token, self._token):
            return "wrong token"
        with self._changing:
            self._silent.pop(wire, None)
            if not greeting.drives:
                return ""
            if self._driver is not None:
                client, before = self._driver
                if client != greeting.client:
                    return "another client drives"
                before.abort()  # its connection broke, and it came back before we heard of that
            self._driver = (greeting.client, wire)
        return ""

    def _leave(self, wire: Wire) -> None:
        with self._changing:
            if self._is_driver(wire):
                self._driver = None

    def _is_driver(self, wire: Wire) -> bool:
        return self._driver is not None and self._driver[1] is wire

    def _answer(self, wire: Wire) -> None:
        """Answer the driver's questions until it leaves; one that makes no sense is the last."""
        while True:
            try:
                question = wire.receive(Question, self._most_bytes, MESSAGE_S, patient=True)
                obs = self._obs(question)
            except BadMessageError as error:
                wire.send(Answer(0, None, str(error)), MESSAGE_S)
                raise
            with self._planning:
                if not self._is_driver(wire):
                    raise ConnectionError("it came back over another connection")
                if question.seed is not None:
                    self._plans.begin(question.seed)
                for _ in range(question.skipped):
                    self._plans.skip()
                actions = Array.of(self._plans.plan(obs))
            wire.send(Answer(question.number, actions), MESSAGE_S)

    def _obs(self, question: Question) -> dict[str, torch.Tensor]:
        """Return the observations (1, ...) of a question.

        Raises:
            BadMessageError: they are not what the policy sees.
        """
        if set(question.obs) != set(self._spec.obs):
            raise BadMessageError(f"observations must be {', '.join(sorted(self._spec.obs))}")
        found = {
            key: check_array(key, question.obs[key].values(), array) for key, array in self._spec.obs.items()
        }
        return {key: torch.from_numpy(values)[None] for key, values in found.items()}
