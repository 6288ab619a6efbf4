"""TCP connections between process 0 and the other processes of a run.

They carry small values, the decision to stop together, and reports of faults.

JAX moves arrays between processes. But when a process dies or is stuck, the other processes wait for its arrays and
print no message. So process 0 keeps a TCP connection to every other process. Each message is a line of JSON. A closed
connection, a message about a fault or a long silence ends all processes. Each process prints the same sentence, which
names the faulty process and the cause. Nothing here imports JAX.
"""

import contextlib
import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from resnet_jax.ending import end_at_once
from resnet_jax.errors import UserError
from resnet_jax.training.launchers import Launch
from resnet_jax.training.meeting import difference, meet, send

FAILED = 1
BEAT = 0.5  # seconds between two reports of a process
LAST_WORDS = 2.0  # seconds that a failed process waits for process 0 to end it
# A warning names a silent process after this share of `stall_seconds`.
NAMED_AFTER = 0.2
# Before the first step, this factor multiplies the time that a process may be behind the others, because reading data
# and compiling take different times on different machines.
SET_UP = 4.0


class Link:
    """The TCP connections of one process.

    Process 0 is connected to every other process. The other processes are connected only to process 0.

    The main threads of all processes must call `share`, `gather`, `barrier` and `agree` in the same order.
    """

    def __init__(self, launch: Launch, start_seconds: float, stall_seconds: float) -> None:
        """Stores the settings; `connect` opens the connections.

        Processes wait at most `start_seconds` for each other at the start. The run ends if a process is silent, or
        behind the others, for `stall_seconds`.
        """
        self.launch, self.start_seconds, self.stall_seconds = launch, start_seconds, stall_seconds
        self.primary = launch.process == 0
        self._peers: dict[int, socket.socket] = {}
        self._inbox: dict[int, queue.Queue[Any]] = {}
        self._heard: dict[int, float] = {}
        self._progress: dict[int, tuple[int, str, bool]] = {}
        """For each process: the number of reports of its main thread, its last position, and whether it takes steps."""
        self._moved: dict[int, float] = {}
        self._named: set[int] = set()
        self._gone: set[int] = set()
        self._left = threading.Event()
        self._lock, self._ending = threading.RLock(), threading.Lock()
        self._turn = threading.Condition()
        self._reports, self._where, self._reported = 0, "the start", time.monotonic()
        self._steps = False
        self.restart_agreement()

    def connect(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Connects to the other processes; see meeting.meet for the argument, the result and the errors."""
        self._peers, welcome = meet(self.launch, self.start_seconds, facts)
        self._start_threads()
        return welcome

    def _start_threads(self) -> None:
        now = time.monotonic()
        for process, peer in self._peers.items():
            peer.settimeout(None)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._inbox[process], self._heard[process], self._moved[process] = queue.Queue(), now, now
            threading.Thread(target=self._receive, args=(process, peer), daemon=True, name=f"from {process}").start()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    # Values

    def gather(self, value: Any) -> list[Any]:
        """Sends each process's value to process 0. Returns all values in process 0, and [] in the other processes."""
        if not self.primary:
            self._send(0, {"value": value})
            return []
        return [value, *(self._inbox[process].get() for process in sorted(self._peers))]

    def share(self, value: Any) -> Any:
        """Returns the value of process 0 in every process."""
        if not self.primary:
            return self._inbox[0].get()
        for process in self._peers:
            self._send(process, {"value": value})
        return value

    def barrier(self, name: str, seconds: float) -> None:
        """Waits until all processes have called this.

        Raises:
          UserError: in process 0, if a process has not called this within `seconds`. The message names the process.
        """
        if not self.primary:
            self._send(0, {"value": name})
            self._inbox[0].get()
            return
        deadline = time.monotonic() + seconds
        missing = []
        for process in sorted(self._peers):
            try:
                self._inbox[process].get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                missing.append(str(process))
        if missing:
            raise UserError(f"process {' and '.join(missing)} did not reach {name} within {seconds:g} s.")
        self.share(name)

    # Agreement

    def restart_agreement(self) -> None:
        """Resets `agree` for a new run: `agree` forgets that the previous run was stopped, and returns False again."""
        self._steps = False
        self._calls, self._asked, self._hold = 0, False, False
        self._last_call: int | None = None
        self._answers: dict[int, int] = {}

    def agree(self, flag: bool) -> bool:
        """Whether all processes stop now. Each process calls this after every dispatch of steps.

        After one process has passed True, all processes soon return True. They do so in the same call: for example,
        each process returns True in its 812th call.

        Process 0 chooses the number of this call. It asks every other process how many calls that process has made.
        The chosen number is the largest number of calls in any process, process 0 included, plus 1. A process that was
        asked waits in its next call until process 0 has sent the chosen number.
        """
        with self._turn:
            self._calls += 1
            if flag and not self._asked:
                self._asked = True
                if not self.primary:
                    self._send(0, {"stop": True})
            if self.primary and self._asked and self._last_call is None:
                for process in self._peers:
                    self._send(process, {"where": True})
                self._turn.wait_for(lambda: len(self._answers) == len(self._peers))
                self._last_call = max([self._calls, *self._answers.values()]) + 1
                for process in self._peers:
                    self._send(process, {"last_call": self._last_call})
            self._turn.wait_for(lambda: not self._hold or self._last_call is not None)
            return self._last_call is not None and self._calls >= self._last_call

    # Reports and faults

    def report(self, where: str | None = None, *, steps: bool = False, counted: bool = True) -> None:
        """Reports that the main thread of this process makes progress.

        Args:
          where: the position of this process, such as "step 812"; None keeps the last position.
          steps: whether the train steps have begun. Before the first step, longer times without progress are allowed.
          counted: whether every process makes this report, in the same order. Only such reports are counted, and the
            counts show which process is behind.
        """
        self._where, self._steps = where or self._where, self._steps or steps
        self._reports, self._reported = self._reports + counted, time.monotonic()

    def fail(self, cause: str, status: int = FAILED) -> NoReturn:
        """Ends all processes, which print `cause` and the number of this process. Does not return."""
        if self.primary:
            self._end(f"process 0: {cause}", status)
        self._send(0, {"fault": cause, "status": status})
        # Process 0 answers with the sentence that all processes print, which ends this process.
        time.sleep(LAST_WORDS)
        self._end(f"process {self.launch.process}: {cause}", status)

    def leave(self) -> None:
        """Waits for the other processes, then closes the connections.

        After this, a process that ends is not reported as a fault.
        """
        self.barrier("the end", self.stall_seconds)
        for process, peer in self._peers.items():
            self._send(process, {"bye": True})
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_WR)
        self._left.set()

    def _end(self, sentence: str, status: int) -> NoReturn:
        """Prints the sentence in all processes, and ends this process at once."""
        self._ending.acquire()  # only the first cause is printed
        if self.primary:
            for process in self._peers:
                self._send(process, {"end": sentence, "status": status})
            time.sleep(0.2)
        print(f"error: {sentence}", file=sys.stderr, flush=True)
        end_at_once(status)

    def _receive(self, process: int, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), peer.makefile("rb") as lines:
            for line in lines:
                self._heard[process] = time.monotonic()
                self._take(process, json.loads(line))
        if process in self._gone or self._left.is_set():
            self._left.wait()
            peer.close()
        else:
            self._end(f"process {process} ended without a message; perhaps it was killed", FAILED)

    def _take(self, process: int, message: dict[str, Any]) -> None:
        match message:
            case {"value": value}:
                self._inbox[process].put(value)
            case {"beat": [reports, where, steps]}:
                if self._progress.get(process) != (reports, where, steps):
                    self._moved[process] = time.monotonic()
                self._progress[process] = (reports, where, steps)
            case {"end": sentence, "status": status}:
                self._end(sentence, status)
            case {"fault": cause, "status": status}:
                self._end(f"process {process}: {cause}", status)
            case {"where": True}:
                with self._turn:
                    self._hold = True
                    self._send(0, {"at": self._calls})
            case {"at": calls}:
                with self._turn:
                    self._answers[process] = calls
                    self._turn.notify_all()
            case {"last_call": last}:
                with self._turn:
                    self._last_call = last
                    self._turn.notify_all()
            case {"bye": True}:
                self._gone.add(process)
            case {"stop": True}:
                self._asked = True

    def _watch(self) -> None:
        """Sends this process's reports, and checks that the other processes report and make progress."""
        before = time.monotonic()
        while not self._left.wait(BEAT):
            now = time.monotonic()
            if now - before > BEAT + self.stall_seconds * NAMED_AFTER / 2:
                # This process was suspended, and perhaps the whole job, so reports of other processes may be unread.
                self._heard, self._moved = (dict.fromkeys(times, now) for times in (self._heard, self._moved))
                self._reported = now
            before = now
            for process in self._peers:
                self._send(process, {"beat": [self._reports, self._where, self._steps]})
            for process, heard in self._heard.items():
                self._judge(process, now - heard, "has not reported")
            if self.primary:
                self._judge_progress(now)

    def _judge_progress(self, now: float) -> None:
        """Finds processes that are behind. The others wait for them, because all do the same work in the same order."""
        farthest = max([self._reports, *(reports for reports, _, _ in self._progress.values())])
        for process, (reports, _, steps) in self._progress.items():
            if reports < farthest:
                self._judge(process, now - self._moved[process], "has not moved on", 1.0 if steps else SET_UP)
        if self._reports < farthest:
            self._judge(0, now - self._reported, "has not moved on", 1.0 if self._steps else SET_UP)

    def _judge(self, process: int, seconds: float, what: str, times: float = 1.0) -> None:
        """Ends the run if a process has been slow for too long. Warns once before.

        Args:
          process: number of the slow process.
          seconds: how long it has been slow.
          what: the cause in the message, such as "has not reported".
          times: the run ends if `seconds` reaches `times * stall_seconds`. The warning comes at a fraction of this
            time, `NAMED_AFTER`.
        """
        if process in self._gone or seconds < NAMED_AFTER * times * self.stall_seconds:
            return
        own = process == self.launch.process
        where = self._where if own else self._progress.get(process, (0, "the start"))[1]
        sentence = f"process {process} {what} for {seconds:.0f} s at {where}"
        if seconds >= times * self.stall_seconds:
            self._end(sentence, FAILED)
        if process not in self._named:
            self._named.add(process)
            print(f"{sentence}; the run ends after {times * self.stall_seconds:g} s.", file=sys.stderr, flush=True)

    def _send(self, process: int, message: dict[str, Any]) -> None:
        with self._lock:
            send(self._peers[process], message)


def first_difference(link: Link, facts: Mapping[str, Any]) -> str:
    """Returns one sentence about a process whose facts differ from the facts of process 0; empty if all agree.

    All processes get the same sentence.
    """
    found = link.gather(dict(facts))
    answer: str = link.share(difference(dict(enumerate(found))) if link.primary else "")
    return answer
