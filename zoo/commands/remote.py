"""``zoo remote``."""

from __future__ import annotations

import click

from pocketzoo import command


@click.group()
def remote() -> None:
    """Where models are published: folders, the Hub, web servers, sftp, buckets."""


@remote.command("add")
@click.argument("name", metavar="NAME")
@click.argument("url", metavar="URL")
@click.option("--default", "default", is_flag=True, help="Ask it first and publish to it.")
@click.option("--read-only", is_flag=True, help="Never publish there.")
@command.reporting_options
def add(name: str, url: str, default: bool, read_only: bool, as_json: bool) -> None:
    """Add a remote. The first one becomes the default.

    \b
    URL is one of
      /srv/zoo, file:///srv/zoo        a folder, also on a network share
      hf://OWNER                       the Hub, a repository for each model
      hf://OWNER/REPO?private=true     the Hub, one repository
      https://host/zoo                 a web server that lists its folders; read-only
      sftp://user@host/srv/zoo         keys and known hosts as ssh has them
      s3://bucket/zoo, gs://bucket/zoo needs pocketzoo[s3] or pocketzoo[gcs]
    """
    from zoo.remotes import add_remote, load_remotes

    added = add_remote(name, url, default=default, read_only=read_only)
    is_default = load_remotes().default == name
    if as_json:
        command.print_json({**_record(added), "default": is_default})
    else:
        click.echo(f"{added.name}  {added.url}{'  (default)' if is_default else ''}")
        command.say(f"next: zoo push NAME --to {added.name}, or zoo pull {added.name}/NAME")


@remote.command("list")
@command.reporting_options
def list_(as_json: bool) -> None:
    """The remotes, in the order in which they are asked. Nobody is connected to."""
    from zoo.remotes import load_remotes

    known = load_remotes()
    if as_json:
        command.print_json([{**_record(each), "default": each.name == known.default} for each in known.in_order()])
        return
    if not known.remotes:
        command.say("there is no remote yet\n  next:  zoo remote add NAME URL")
        return
    width = max(len(each.name) for each in known.remotes)
    for each in known.in_order():
        notes = [*(["default"] if each.name == known.default else []), *(["read-only"] if each.read_only else [])]
        noted = f"  ({', '.join(notes)})" if notes else ""
        click.echo(f"{each.name:<{width}}  {each.url}{noted}")


@remote.command("remove")
@click.argument("name", metavar="NAME")
@command.reporting_options
def remove(name: str, as_json: bool) -> None:
    """Forget a remote. What is published there stays."""
    from zoo.remotes import remove_remote

    gone = remove_remote(name)
    if as_json:
        command.print_json(_record(gone))
    else:
        click.echo(f"removed {gone.name}  {gone.url}")


@remote.command("default")
@click.argument("name", metavar="NAME")
@command.reporting_options
def default(name: str, as_json: bool) -> None:
    """Ask this remote first and publish to it."""
    from zoo.remotes import set_default

    chosen = set_default(name)
    if as_json:
        command.print_json({**_record(chosen), "default": True})
    else:
        click.echo(f"{chosen.name}  {chosen.url}  (default)")


def _record(remote: object) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(remote))
