"""The connections between processes, between threads of this one: no JAX, no fault ends it."""

import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resnet_jax.errors import UserError
from resnet_jax.training.launchers import Launch
from resnet_jax.training.link import Link, first_difference

Connected = Callable[[int], list[Link]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def links(count: int, seconds: float = 20.0, host: str = "localhost") -> list[Link]:
    port = free_port()
    return [Link(Launch(f"{host}:{port}", count, i, "hand"), seconds, 60.0) for i in range(count)]


def together(work: Callable[[Link], Any], joined: Sequence[Link]) -> list[Any]:
    """What each link's process gets, or the error that it raises."""

    def done(link: Link) -> Any:
        try:
            return work(link)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(len(joined)) as threads:
        return list(threads.map(done, joined))


@pytest.fixture
def connected() -> Iterator[Callable[[int], list[Link]]]:
    """Makes connected links, and has them leave after the test."""
    made: list[list[Link]] = []

    def connect(count: int) -> list[Link]:
        joined = links(count)
        answers = together(lambda link: link.connect({"depth": 20}), joined)
        assert [answer["local"] for answer in answers] == [[i, count] for i in range(count)]
        assert len({answer["jax"] for answer in answers}) == 1
        made.append(joined)
        return joined

    yield connect
    for joined in made:
        together(lambda link: link.leave(), joined)


def has_ipv6() -> bool:
    """Whether this machine has the address ::1; in a container, IPv6 may be known and switched off."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = pytest.param("[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="needs the address ::1"))


@pytest.mark.parametrize("host", ["127.0.0.1", IPV6])
def test_processes_meet_at_an_address_of_either_version(host: str) -> None:
    pair = links(2, host=host)
    assert together(lambda link: link.connect({})["local"], pair) == [[0, 2], [1, 2]]
    together(lambda link: link.leave(), pair)


def test_values_go_both_ways(connected: Connected) -> None:
    joined = connected(3)

    def work(link: Link) -> Any:
        gathered = link.gather(link.launch.process * 10)
        shared = link.share(["from 0", gathered] if link.primary else None)
        link.barrier("the middle", 10.0)
        return shared

    assert together(work, joined) == [["from 0", [0, 10, 20]]] * 3


@pytest.mark.parametrize("seed", range(8))
def test_all_stop_at_one_call_whoever_asks_and_whenever(seed: int, connected: Connected) -> None:
    draw = random.Random(seed)
    joined = connected(3)
    asker, when = draw.randrange(3), draw.randrange(1, 60)

    def work(link: Link) -> int:
        for call in range(1, 200):
            if link.agree(link.launch.process == asker and call >= when):
                return call
            # As collectives do: nobody is more than a few calls ahead.
            if call % 4 == 0:
                link.barrier("a collective", 10.0)
        return 0

    stops = together(work, joined)
    assert len(set(stops)) == 1
    assert when <= stops[0] <= when + 12


def test_without_a_request_nobody_stops(connected: Connected) -> None:
    joined = connected(2)
    assert together(lambda link: any(link.agree(False) for _ in range(100)), joined) == [False, False]


def test_a_request_after_the_last_call_is_too_late_and_forgotten_by_the_next_run(connected: Connected) -> None:
    joined = connected(2)

    def work(link: Link) -> list[bool]:
        first = [link.agree(link.launch.process == 1 and call == 9) for call in range(10)]
        link.barrier("the end of a run", 10.0)
        link.restart_agreement()
        link.barrier("the begin of the next", 10.0)
        return first + [link.agree(False) for _ in range(5)]

    for stops in together(work, joined):
        assert stops[10:] == [False] * 5


def test_processes_that_differ_are_named_before_anything_runs() -> None:
    def work(link: Link) -> Any:
        return link.connect({"optim.learning_rate": 0.2 if link.launch.process == 1 else 0.1, "depth": 20})

    for sentence in together(work, links(2)):
        assert "process 1 differs from process 0 in optim.learning_rate: it has 0.2, and process 0 has 0.1" in sentence


def test_facts_found_later_are_compared_too(connected: Connected) -> None:
    joined = connected(2)
    found = together(lambda link: first_difference(link, {"data": "abc" if link.primary else "abd"}), joined)
    assert found == ["process 1 differs from process 0 in data: it has 'abd', and process 0 has 'abc'"] * 2


def test_a_process_that_does_not_come_is_named() -> None:
    first, second, _ = links(3, seconds=1.0)
    for sentence in together(lambda link: link.connect({}), (first, second)):
        assert re.search(r"process 2 of 3 did not connect to \S+ within 1 s", sentence)


def test_who_waits_for_others_says_so_before_the_time_is_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("resnet_jax.training.meeting.PATIENCE", 0.1)
    first, _, third = links(3, seconds=1.0)
    with pytest.raises(UserError, match="process 1 and 2 of 3 did not connect"):
        first.connect({})
    with pytest.raises(UserError, match="process 0 cannot be reached"):
        third.connect({})
    said = capsys.readouterr().err
    address = first.launch.coordinator
    assert said.count(f"process 0 waits at {address} for process 1 and 2, 1 s at most.") == 1
    assert said.count(f"process 2 cannot reach process 0 at {address} (Connection refused); it will try for 1 s.") == 1


def test_a_coordinator_that_cannot_be_reached_is_named() -> None:
    (_, second) = links(2, seconds=0.5)
    with pytest.raises(UserError, match=r"parallel\.coordinator: process 0 cannot be reached at localhost:\d+"):
        second.connect({})


def test_a_host_that_nobody_knows_is_named_at_once() -> None:
    link = Link(Launch("no-such-host.invalid:5000", 2, 1, "hand"), 60.0, 60.0)
    with pytest.raises(UserError, match=r"parallel\.coordinator: got 'no-such-host.invalid:5000'"):
        link.connect({})


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} of this machine cannot be used"):
            Link(Launch(f"localhost:{port}", 2, 0, "hand"), 1.0, 60.0).connect({})


def test_strangers_at_the_port_are_sent_away() -> None:
    first, second = links(2)
    host, port = "localhost", int(first.launch.coordinator.rpartition(":")[2])

    def stranger() -> str:
        while True:
            try:
                peer = socket.create_connection((host, port), timeout=5.0)
            except ConnectionRefusedError:
                time.sleep(0.02)  # process 0 does not listen yet
                continue
            with peer:
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                try:
                    return peer.recv(10).decode()
                except ConnectionResetError:
                    return ""

    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(first.connect, {}), threads.submit(stranger)]
        assert answers[1].result() == ""
        second.connect({})
        answers[0].result()


def test_two_processes_of_one_number_are_named() -> None:
    first, second = links(2)
    twin = Link(second.launch, 20.0, 60.0)
    three = [
        Link(Launch(link.launch.coordinator, 3, link.launch.process, "hand"), 5.0, 60.0)
        for link in (first, second, twin)
    ]
    for sentence in together(lambda link: link.connect({}), three):
        assert "two processes have the number 1" in sentence or "answered" in sentence


@pytest.mark.parametrize(("steps", "limit"), [(False, 240.0), (True, 60.0)])
def test_a_process_that_stays_behind_ends_the_run_later_in_the_set_up_than_in_training(
    steps: bool, limit: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    link, ended = links(2)[0], list[str]()
    monkeypatch.setattr(link, "_end", lambda sentence, status: ended.append(sentence))
    link.report()
    link.report()
    link._progress[1], link._moved[1] = (1, "loading the data", steps), 0.0
    link._judge_progress(0.2 * limit - 1.0)
    assert capsys.readouterr().err == ""
    link._judge_progress(0.2 * limit + 1.0)
    said = f"process 1 has not moved on for {0.2 * limit + 1.0:.0f} s at loading the data"
    assert capsys.readouterr().err == f"{said}; the run ends after {limit:g} s.\n"
    link._judge_progress(limit - 1.0)
    assert ended == []
    link._judge_progress(limit + 1.0)
    assert ended == [f"process 1 has not moved on for {limit + 1.0:.0f} s at loading the data"]


def test_a_process_that_died_may_come_again_while_others_are_awaited() -> None:
    first, second, third = links(3)
    with ThreadPoolExecutor(1) as threads:
        meeting = threads.submit(first.connect, {})
        host, _, port = first.launch.coordinator.partition(":")
        while True:
            try:
                dead = socket.create_connection((host, int(port)))
                break
            except OSError:
                time.sleep(0.01)
        dead.sendall(b'{"hello": "resnet_jax"}\n')  # of nobody
        dead.close()
        dead = socket.create_connection((host, int(port)))
        dead.sendall(b'{"hello": "resnet_jax", "process": 1, "of": 3, "facts": {}, "host": "a"}\n')
        dead.close()
        answers = together(lambda link: link.connect({}), (second, third))
        assert [answer["local"][0] for answer in [meeting.result(), *answers]] == [0, 1, 2]
    together(lambda link: link.leave(), (first, second, third))


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", "localhost:no", "localhost:0", "localhost:65536", ":9000", "::1:9000", "[::1:9000"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"parallel\.coordinator: got '.*'; legal: host:port"):
        Link(Launch(address, 2, 0, "hand"), 1.0, 60.0).connect({})
