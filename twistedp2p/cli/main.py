"""The `twistedp2p` command. Every error that a person can mend is one sentence on stderr and exit status 1."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from twistedp2p import __version__
from twistedp2p.errors import TwistedP2PError

__all__ = ["command", "main"]

_COMMANDS = {
    "files": "List what a file server serves.",
    "get": "Fetch files and folders from a file server.",
    "mv": "Rename a file or folder of a file server.",
    "put": "Put files and folders onto a file server.",
    "rm": "Remove files and folders of a file server.",
    "echo": "Measure an echo server, and look at every byte.",
    "receive": "Receive what somebody sends, by a code.",
    "send": "Send files and folders to somebody, by a code.",
    "doctor": "Check what usually goes wrong.",
    "leave": "Make a shared folder an ordinary one again.",
    "pause": "Let a shared folder rest, over restarts too.",
    "resume": "Let a paused folder go on.",
    "stop": "End the peer of a shared folder.",
    "ignored": "Say what is not shared, and by which pattern.",
    "invite": "Print the invite of a shared folder.",
    "join": "Make a folder a member of a share.",
    "run": "Go on with every shared folder, in one process.",
    "service": "Install a service that goes on with all shared folders.",
    "share": "Share a folder; print the invite that admits others.",
    "status": "Say what a running peer is doing.",
    "trash": "List or remove what is kept in the trash.",
    "why": "Say why a file or folder is not in sync.",
}
"""Each in a module of its name, which is imported only when it runs: `status` needs no network of ours."""


class _Commands(click.Group):
    """The commands; errors of the package are turned into a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None if there is none."""
        if cmd_name not in _COMMANDS:
            return None
        # Nothing of what is imported is garbage; to look for it again and again would take longer than a short command.
        gc.disable()
        try:
            found: click.Command = importlib.import_module(f"twistedp2p.cli.{cmd_name}").command
        finally:
            gc.freeze()
            gc.enable()
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except TwistedP2PError as error:
            click.echo(f"twistedp2p: {error}", err=True)
            ctx.exit(1)


def _say_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    import twisted  # here, for no other command waits for it

    from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN

    click.echo(f"twistedp2p {__version__}")
    click.echo(f"Python {sys.version.split()[0]}, Twisted {twisted.__version__}; speaks {TRACKER_ALPN}, {PEER_ALPN}")
    context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Say of which version this is, and what it speaks.",
)
def command() -> None:
    """One folder on several machines, without a cloud.

    `twistedp2p share DIR` on the first machine prints an invite;
    `twistedp2p join INVITE DIR` on the others, and the folders are the same from then on.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line `arguments`, by default those of this process; ends by SystemExit."""
    command.main(arguments if arguments is None else list(arguments), prog_name="twistedp2p")
