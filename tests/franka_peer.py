"""A Franka that is not there, in a process of its own: franky-sim's, and on request at fault.

As a script it is that process: `franka_peer.py HOST`, told what to do by lines on stdin; each is answered by
"done".
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

START_Q = (0.0, 0.0, 0.0, -2.2, 0.0, 2.2, 0.785)  # the tool points down at (0.53, 0, 0.28)
_numbers = count(1)


def own_host() -> str:
    """Return a loopback address that no other test of this machine uses."""
    low = os.getpid() % 65536
    return f"127.{100 + next(_numbers) % 100}.{low // 256}.{low % 256}"


class Peer:
    """The process, seen from a test.

    Args:
        host: that it serves.
        command: that starts it; it prints "ready".
    """

    def __init__(self, host: str, command: list[str]) -> None:
        self.host, self._command = host, command
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, anew where it was killed."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.expect("ready")

    def tell(self, *words: object) -> str:
        """Tell it what to do; return what it says when that is done."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self.expect("done")

    def signal(self, number: signal.Signals) -> None:
        """Stop, continue or kill it."""
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        """End it; safe twice."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # of what it was not told any more
                pipe.close()

    def expect(self, word: str) -> str:
        """Wait until it says a word; return what follows that."""
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            first, *rest = line.split()
            if first == word:
                return " ".join(rest)
        raise AssertionError(f"the peer ended before it said {word}")


def franky_sim() -> AbstractContextManager[Peer]:
    """Start a Franka with its hand that is at fault only where it is told to be."""
    host = own_host()
    return started(Peer(host, [sys.executable, str(Path(__file__).resolve()), host]))


@contextmanager
def started(peer: Peer) -> Iterator[Peer]:
    """Start a peer, and end it."""
    try:
        peer.start()
        yield peer
    finally:
        peer.close()


def _counted(hand: Any) -> Any:
    """Let a hand count what it was ordered to do."""
    hand.orders = 0
    start = hand._start_motion

    def counting(*args: object) -> None:
        hand.orders += 1
        start(*args)

    hand._start_motion = counting
    return hand


def _serve(host: str) -> None:
    """Be the process."""
    from franky_sim.franka_robot_protocol import (
        AutomaticErrorRecoveryCommand,
        AutomaticErrorRecoveryStatus,
        MoveStatus,
        RobotCommand,
        RobotMode,
    )
    from franky_sim.franka_robot_server import FrankaRobotServer
    from franky_sim.franka_server import BaseCommand
    from franky_sim.mujoco_simulator import MujocoSimulator

    class Recovery(AutomaticErrorRecoveryCommand):
        def handle(self, server: Server) -> None:
            if not server.heals:
                self.reply(AutomaticErrorRecoveryStatus.kManualErrorRecoveryRequiredRejected)
                return
            server.fail()
            self.reply(AutomaticErrorRecoveryStatus.kSuccess)

    def counted(command: type[BaseCommand]) -> type[BaseCommand]:
        class Counted(command):
            def handle(self, server: Server) -> None:
                server.orders += 1
                super().handle(server)

        return Counted

    class Server(FrankaRobotServer):
        heals = True
        orders = 0
        said: dict[str, object] = {}

        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            known = self._FrankaServer__command_class_map
            known[RobotCommand.kAutomaticErrorRecovery] = Recovery
            by_franky = {RobotCommand.kGetRobotModel, RobotCommand.kSetCollisionBehavior}  # as it connects
            for name in set(RobotCommand) & set(known) - by_franky:
                known[name] = counted(known[name])

        @property
        def robot_state(self) -> object:
            return super().robot_state.replace(**self.said)

        def fail(self, *errors: str) -> None:
            """Be at fault by these indices; without any, do no longer."""
            flags = tuple(str(index) in errors for index in range(41))
            self.say(errors=flags, robot_mode=RobotMode.kReflex if errors else None)
            self.abort(MoveStatus.kReflexAborted if errors else None)

        def be(self, mode: str) -> None:
            """Be in a mode, whatever that comes from; none is its own."""
            self.say(robot_mode=RobotMode[mode] if mode else None)
            self.abort(MoveStatus.kEmergencyAborted if mode == "kUserStopped" else None)

        def say(self, **fields: object) -> None:
            kept = {**self.said, **fields}
            self.said = {name: value for name, value in kept.items() if value is not None}

        def abort(self, status: MoveStatus | None) -> None:
            """End the motion that there is, as a robot does that stops by itself."""
            if status is None or not self.current_motion_id:
                return
            self.send_state()
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, self.current_motion_id, status)
            self.stop_motion(send_preemption_signal=False)
            self.reset_current_motion_id()

    with MujocoSimulator() as simulator:
        robot = simulator.add_robot(initial_q=START_Q, initial_hand_width=0.08)
        server = Server(robot, [host])
        server.init()
        hand = _counted(server.gripper_server)
        simulator.start()
        orders: SimpleQueue[list[str]] = SimpleQueue()
        threading.Thread(target=lambda: [orders.put(line.split()) for line in sys.stdin], daemon=True).start()
        does = {
            "fail": server.fail,
            "mode": lambda mode="": server.be(mode),
            "heals": lambda yes: setattr(server, "heals", yes == "yes"),
            "force": lambda *force: server.say(O_F_ext_hat_K=(*map(float, force), 0.0, 0.0, 0.0)),
            "hand_hangs": lambda: setattr(hand, "_check_motion_state", lambda: None),
            "hand_drops": hand.reset_state,
            "hand_orders": lambda: hand.orders,
            "orders": lambda: server.orders,
        }
        print("ready", flush=True)
        while True:
            began_s = time.monotonic()
            while not orders.empty():
                verb, *words = orders.get()
                print("done", does[verb](*words), flush=True)
            server.process_commands()
            simulator.step()
            server.send_state()
            time.sleep(max(0.0, 0.001 - (time.monotonic() - began_s)))


if __name__ == "__main__":
    _serve(sys.argv[1])
