"""Connects the processes of a run to process 0, which checks that they agree before anything runs.

Nothing here imports JAX.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from resnet_jax.errors import UserError
from resnet_jax.training.launchers import Launch

Peers = dict[int, socket.socket]
HELLO = "resnet_jax"
# Seconds after which a waiting process prints a message, and seconds of one attempt to connect.
PATIENCE = 5.0


def meet(launch: Launch, seconds: float, facts: Mapping[str, Any]) -> tuple[Peers, dict[str, Any]]:
    """Waits until all processes are connected, and checks that their facts are equal.

    Args:
      launch: the number of this process, and the address of process 0.
      seconds: longest time that processes wait for each other.
      facts: values that must be equal in all processes, by name, in JSON's types.

    Returns:
      The connections, by the number of the connected process. Process 0 has a connection to every other process. The
      other processes have one connection, to process 0.
      A dictionary {"jax": port, "local": [i, n]}: the port for JAX's service on process 0, and the index i of this
      process among the n processes of its machine.

    Raises:
      UserError: process 0 cannot be reached, its port is in use, a process does not connect, or the facts differ.
    """
    peers: Peers = {}
    try:
        return peers, _meet(launch, seconds, facts, peers)
    except UserError:
        for peer in peers.values():
            peer.close()
        raise


def send(peer: socket.socket, message: Mapping[str, Any]) -> None:
    """Sends a message as a line of JSON.

    Ignores a broken connection, because the code that reads from the same connection notices and reports it.
    """
    with contextlib.suppress(OSError):
        peer.sendall(json.dumps(message).encode() + b"\n")


def _address(coordinator: str) -> tuple[str, int]:
    """Host and port of "node0:9000", "10.0.0.1:9000" or "[fd00::2]:9000"."""
    host, _, port = coordinator.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != (f"[{bare}]" == host) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(
            f"parallel.coordinator: got {coordinator!r}; legal: host:port, with a port up to 65535; an IPv6 address is "
            f"written in brackets."
        )
    return bare, int(port)


def _meet(launch: Launch, seconds: float, facts: Mapping[str, Any], peers: Peers) -> dict[str, Any]:
    host, port = _address(launch.coordinator)
    hello = {"hello": HELLO, "process": launch.process, "of": launch.processes, "facts": dict(facts)}
    hello["host"] = socket.gethostname()
    if launch.process != 0:
        return _join(launch, host, port, hello, seconds, peers)
    hellos = _accept(launch, port, hello, seconds, peers)
    with socket.socket() as probe:
        probe.bind(("", 0))
        free = probe.getsockname()[1]
    welcomes = {}
    for process, other in hellos.items():
        mates = sorted(p for p, h in hellos.items() if h["host"] == other["host"])
        welcomes[process] = {"jax": free, "local": [mates.index(process), len(mates)]}
    problem = difference({process: other["facts"] for process, other in hellos.items()})
    for process in peers:
        send(peers[process], {"refused": problem} if problem else welcomes[process])
    if problem:
        raise UserError(f"{problem}.")
    return welcomes[0]


def _accept(launch: Launch, port: int, own: dict[str, Any], seconds: float, peers: Peers) -> dict[int, dict[str, Any]]:
    hellos, said = {0: own}, False
    began = time.monotonic()
    both = socket.has_dualstack_ipv6()  # listens to IPv4 too
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, backlog=launch.processes, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(
            f"parallel.coordinator: port {port} of this machine cannot be used ({error.strerror}); choose another port."
        ) from error
    with server:
        while len(hellos) < launch.processes or _drop_closed(peers, hellos):
            limit = seconds if said else min(PATIENCE, seconds)
            server.settimeout(max(0.01, began + limit - time.monotonic()))
            try:
                peer, _ = server.accept()
            except TimeoutError:
                missing = " and ".join(str(p) for p in range(launch.processes) if p not in hellos)
                if limit < seconds:
                    said = True
                    _say(f"process 0 waits at {launch.coordinator} for process {missing}, {seconds:g} s at most.")
                    continue
                sentence = (
                    f"process {missing} of {launch.processes} did not connect to {launch.coordinator} within "
                    f"{seconds:g} s"
                )
                for process in peers:
                    send(peers[process], {"refused": sentence})
                raise UserError(sentence + ".") from None
            hello = _first_line(peer)
            if hello is None or hello.get("hello") != HELLO or not isinstance(hello.get("process"), int):
                peer.close()  # not a process of this run
                continue
            process, problem = hello["process"], ""
            _drop_closed(peers, hellos)  # the process may have died and been started again
            if hello.get("of") != launch.processes:
                problem = f"process {process} expects {hello.get('of')} processes, and process 0 expects {own['of']}"
            elif process in hellos:
                problem = f"two processes have the number {process}"
            if problem:
                peers[-1] = peer
                for other in peers:
                    send(peers[other], {"refused": problem})
                raise UserError(f"parallel.processes: {problem}.")
            hellos[process], peers[process] = hello, peer
    return hellos


def _join(launch: Launch, host: str, port: int, hello: dict[str, Any], seconds: float, peers: Peers) -> dict[str, Any]:
    began, said = time.monotonic(), False
    while True:
        try:
            left = began + seconds - time.monotonic()
            peer = socket.create_connection((host, port), timeout=min(PATIENCE, max(0.01, left)))
            break
        except socket.gaierror as error:
            raise UserError(f"parallel.coordinator: got {launch.coordinator!r}: {error.strerror}.") from error
        except OSError as error:
            waited, problem = time.monotonic() - began, f"at {launch.coordinator} ({error.strerror or error})"
            if waited >= seconds:
                raise UserError(
                    f"parallel.coordinator: process 0 cannot be reached {problem}; tried for {seconds:g} s."
                ) from error
            if waited >= PATIENCE and not said:
                said = True
                _say(f"process {launch.process} cannot reach process 0 {problem}; it will try for {seconds:g} s.")
            time.sleep(0.2)
    peers[0] = peer
    send(peer, hello)
    # Process 0 may have started later, and then waits for the other processes up to `seconds`.
    answer = _first_line(peer, 2 * seconds)
    if answer is None:
        raise UserError(
            f"parallel.coordinator: {launch.coordinator} did not answer as process 0 of a run would; another program "
            f"may use this port, or process 0 has ended."
        )
    if "refused" in answer:
        raise UserError(f"{answer['refused']}.")
    return answer


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _first_line(peer: socket.socket, seconds: float = 5.0) -> dict[str, Any] | None:
    """Reads the first message of a connection; None if no JSON object arrives in time."""
    peer.settimeout(seconds)
    received = b""
    try:
        while not received.endswith(b"\n"):
            byte = peer.recv(1)  # one byte at a time, because another thread reads the lines after this one
            if not byte or len(received) > 1 << 20:
                return None
            received += byte
        message = json.loads(received)
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None


def _drop_closed(peers: Peers, hellos: dict[int, Any]) -> bool:
    """Removes processes whose connection is closed, because they died. Returns whether there were any."""
    gone = [process for process, peer in peers.items() if _is_closed(peer)]
    for process in gone:
        peers.pop(process).close()
        del hellos[process]
    return bool(gone)


def _is_closed(peer: socket.socket) -> bool:
    """Whether the other process has closed an idle connection."""
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.setblocking(True)


def difference(facts: Mapping[int, Mapping[str, Any]]) -> str:
    """A sentence about a process whose facts differ from the facts of process 0; empty if all agree."""
    own = facts[0]
    for process, theirs in sorted(facts.items()):
        for name in sorted(own.keys() | theirs.keys()):
            if own.get(name) != theirs.get(name):
                return (
                    f"process {process} differs from process 0 in {name}: it has {theirs.get(name)!r}, and process 0 "
                    f"has {own.get(name)!r}"
                )
    return ""
