"""``twistedp2p echo``: measures an echo server, and looks at every byte that comes back."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from twistedp2p import limits
from twistedp2p.cli.words import count, rate, size
from twistedp2p.disk.machine import raise_open_files
from twistedp2p.errors import BadArgument, TwistedP2PError, Unreachable

if TYPE_CHECKING:
    from twistedp2p.echo.load import Load, Wish
    from twistedp2p.echo.load_udp import DatagramLoad
    from twistedp2p.echo.tally import Tally
    from twistedp2p.echo.target import Target, Trust

__all__ = ["command", "lines"]


@click.command("echo")
@click.argument("endpoint", metavar="ENDPOINT")
@click.option("--connections", type=click.IntRange(1), default=1, show_default=True, help="Connections at once.")
@click.option("--messages", type=click.IntRange(1), default=100, show_default=True, help="Messages on each of them.")
@click.option(
    "--size", "length", type=click.IntRange(1, limits.ECHO_MESSAGE_BYTES), default=64, show_default=True,
    help="Bytes of a message.",
)  # fmt: skip
@click.option(
    "--window", type=click.IntRange(1), default=1, show_default=True,
    help="Messages of a connection that are under way at once.",
)  # fmt: skip
@click.option("--udp", is_flag=True, help="Send datagrams; each connection is a socket of its own.")
@click.option("--strict", is_flag=True, help="With --udp: lost datagrams make the exit status 1.")
@click.option(
    "--timeout", type=click.FloatRange(0.001), metavar="SECONDS",
    help=f"Give up a connection on which nothing came back for so long ({limits.ECHO_PATIENCE:.0f}), "
    f"or take a datagram for lost ({limits.ECHO_DATAGRAM_PATIENCE:.0f}).",
)  # fmt: skip
@click.option("--pin", metavar="FINGERPRINT", help="Take the TLS server with this certificate only (SHA-256).")
@click.option(
    "--cafile", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Take TLS servers that the certificates in FILE (PEM) vouch for.",
)  # fmt: skip
@click.option("--insecure", is_flag=True, help="Take any TLS server.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as one JSON object.")
def command(
    endpoint: str,
    connections: int,
    messages: int,
    length: int,
    window: int,
    udp: bool,
    strict: bool,
    timeout: float | None,
    pin: str | None,
    cafile: Path | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Measure the echo server at ENDPOINT: HOST:PORT, tls:HOST:PORT or unix:PATH.

    Every message has other bytes, and all that come back are compared. The exit status is 1 if one of them was
    another one, or if a message did not come back.
    """
    from twistedp2p.echo.load import Wish  # only a command that needs the network waits for it
    from twistedp2p.echo.target import Target, Trust, parse_fingerprint

    target = Target.parse(endpoint)
    if sum(bool(one) for one in (pin, cafile, insecure)) > 1:
        raise click.UsageError("Say one of --pin, --cafile and --insecure.")
    if target.kind != "tls" and (pin or cafile or insecure):
        raise click.UsageError("--pin, --cafile and --insecure are for TLS: write tls:HOST:PORT.")
    if strict and not udp:
        raise click.UsageError("--strict is for --udp; without it every loss makes the exit status 1.")
    if udp and target.kind != "tcp":
        raise click.UsageError("With --udp, write HOST:PORT.")
    if udp and not limits.ECHO_DATAGRAM_LEAST <= length <= limits.ECHO_DATAGRAM_MOST:
        raise click.UsageError(
            f"With --udp, --size is {limits.ECHO_DATAGRAM_LEAST} to {limits.ECHO_DATAGRAM_MOST:,} bytes."
        )
    patience = timeout or (limits.ECHO_DATAGRAM_PATIENCE if udp else limits.ECHO_PATIENCE)
    wish = Wish(connections, messages, length, window, patience)
    _check_size(wish)
    trust = Trust(cafile, None if pin is None else parse_fingerprint(pin), insecure)
    tally = _measured(target, wish, trust, udp)
    if as_json:
        click.echo(json.dumps({"endpoint": _way(target, udp), **tally.as_json()}, indent=2))
    else:
        click.echo("\n".join(lines(target, wish, udp, tally)))
    if tally.damaged or (tally.lost and (strict or not udp)) or not tally.back:
        raise SystemExit(1)


def _check_size(wish: Wish) -> None:
    """Raise `BadArgument` if this machine, or this process, can not do what is wished."""
    under_way = wish.connections * min(wish.window, wish.messages) * wish.size
    if under_way > limits.ECHO_LOAD_BYTES:
        raise BadArgument(
            f"{size(under_way)} would be under way at once, and {size(limits.ECHO_LOAD_BYTES)} may be; "
            "lower --connections, --window or --size."
        )
    room = raise_open_files(wish.connections + limits.ECHO_SPARE_FILES) - limits.ECHO_SPARE_FILES
    if room < wish.connections:
        raise BadArgument(
            f"This process may have {room + limits.ECHO_SPARE_FILES:,} files open, which is enough for "
            f"{max(room, 0):,} connections; lower --connections, or raise the hard limit (`ulimit -Hn`)."
        )


def _measured(target: Target, wish: Wish, trust: Trust, udp: bool) -> Tally:
    """Run it and return what it measured; raises `Unreachable` if nothing could be sent at all."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted.logger import globalLogBeginner

    from twistedp2p.echo.load_udp import NOBODY
    from twistedp2p.framing.steady import keep_steady

    globalLogBeginner.beginLoggingTo([_bugs_only(sys.stderr)], redirectStandardIO=False)
    found: list[Tally] = []
    failed: list[TwistedP2PError] = []

    async def run(reactor: Any) -> None:
        keep_steady(reactor)
        try:
            load = await _load(reactor, target, wish, trust, udp)
        except TwistedP2PError as error:
            failed.append(error)
            return
        reactor.addSystemEventTrigger("before", "shutdown", load.interrupt)
        found.append(await load.run())

    try:
        react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as end:
        if failed:
            raise failed[0] from None
        if not found:  # a bug, or a signal before it began
            raise SystemExit(end.code or 1) from None
    tally = found[0]
    if not tally.opened or (udp and not tally.back and NOBODY in tally.troubles):
        raise Unreachable(_why_nothing(_way(target, udp), tally))
    return tally


def _bugs_only(stream: TextIO) -> Any:
    """Return an observer that writes failures of our own; why a certificate is refused is told in a sentence."""
    from twisted.logger import LogLevel, textFileLogObserver

    write = textFileLogObserver(stream)

    def observe(event: dict[str, Any]) -> None:
        ours = not str(event.get("log_namespace")).startswith("twisted.internet._sslverify")
        if event.get("log_level") is LogLevel.critical and ours:
            write(event)

    return observe


async def _load(reactor: Any, target: Target, wish: Wish, trust: Trust, udp: bool) -> Load | DatagramLoad:
    from twisted.internet.abstract import isIPAddress, isIPv6Address
    from twisted.internet.error import DNSLookupError

    from twistedp2p.echo.load import Load
    from twistedp2p.echo.load_udp import DatagramLoad
    from twistedp2p.echo.payload import Payloads

    payloads = Payloads(os.urandom(16), wish.size)
    if not udp:
        return Load(reactor, wish, target.dialler(reactor, trust, wish.patience), trust, payloads, time.perf_counter)
    host = target.host
    if not (isIPAddress(host) or isIPv6Address(host)):
        try:
            host = await reactor.resolve(host)
        except DNSLookupError as error:
            raise Unreachable(f"There is no address for {target.host}: is the name right?") from error
    return DatagramLoad(reactor, wish, host, target.port, payloads, time.perf_counter)


def _way(target: Target, udp: bool) -> str:
    return "udp" + target.text().removeprefix("tcp") if udp else target.text()


def _why_nothing(way: str, tally: Tally) -> str:
    why = "; ".join(tally.troubles) or "interrupted"
    if "TLS failed" in why or "--pin" in why:
        return f"{way} was not trusted ({why}); say --pin FINGERPRINT, --cafile FILE or --insecure."
    return f"{way} can not be reached ({why}); see that the echo server runs and that the address is right."


def lines(target: Target, wish: Wish, udp: bool, tally: Tally) -> list[str]:
    """Return what was measured as a person reads it."""
    trips = tally.round_trips
    text = [
        f"{_way(target, udp)}: {count(wish.connections, 'connection')}, "
        f"{count(wish.messages, 'message')} of {size(wish.size)} each, {wish.window:,} at a time",
        f"connections  {tally.opened:,} opened in {tally.opening:.2f} s, "
        f"{wish.connections - tally.opened:,} failed",
        f"messages     {tally.sent:,} sent, {tally.back:,} came back, {tally.lost:,} lost, {tally.damaged:,} damaged"
        + (f", {tally.doubled:,} doubled or late" if udp else ""),
        f"throughput   {tally.rate(tally.back):,.0f} messages/s; {rate(tally.rate(tally.sent) * tally.size)} out, "
        f"{rate(tally.rate(tally.back) * tally.size)} back; in {tally.seconds:.2f} s",
    ]
    if trips.count:
        parts = [(name, trips.percentile(part)) for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))]
        shown = [f"{name} {_time(value)}" for name, value in (*parts, ("max", trips.most)) if value is not None]
        text.insert(3, f"round trip   {', '.join(shown)}")
    text += [f"trouble      {count(number, 'time')}: {trouble}" for trouble, number in tally.troubles.most_common(5)]
    if tally.first_damage:
        text.append(f"damage       first at {tally.first_damage}")
    elif not tally.lost:
        text.append("Every byte came back as it was sent.")
    return text


def _time(seconds: float) -> str:
    """Return a short time with three digits."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.2f} s"
