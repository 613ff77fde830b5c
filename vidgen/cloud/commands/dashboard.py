"""`vidgen-cloud dashboard`: look at a run in a browser."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import click

from vidgen.cloud.session import Session, platform_option, run_argument
from vidgen.errors import ConfigError

_COPY_EVERY_S = 10.0  # new rows to TensorBoard


@click.command()
@run_argument
@click.argument("what", type=click.Choice(["ray", "grafana", "tensorboard"]), default="ray")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Local port; 0: a free one.")
@click.option("--browser/--no-browser", default=True, help="Open it, or only print the address.")
@platform_option
@click.pass_context
def command(
    ctx: click.Context, name: str, what: str, port: int, browser: bool, platform_file: str | None
) -> int:
    """Open the Ray dashboard of run NAME, its Grafana page, or its curves in TensorBoard.

    The way to Ray stays open through pod restarts, until Ctrl-C.
    """
    session = Session.of(ctx, platform_file)
    if what == "grafana":
        _show(_grafana(session, name), browser)
        return 0
    if what == "tensorboard":
        return _tensorboard(session, name, port, browser)
    return _ray(session, name, port, browser)


def _ray(session: Session, name: str, port: int, browser: bool) -> int:
    from vidgen.cloud.look import look
    from vidgen.cloud.ray_jobs import DASHBOARD_PORT, head_pod, ray_token
    from vidgen.cloud.tunnel import Tunnel

    cluster = session.cluster
    snapshot = look(cluster, name)
    head_pod(snapshot)  # fails here, with words, rather than in the browser
    with Tunnel(cluster, lambda: head_pod(look(cluster, name)), DASHBOARD_PORT, port) as tunnel:
        if ray_token(cluster, snapshot.rayjob):
            rayjob = snapshot.rayjob
            options = rayjob["spec"]["rayClusterSpec"]["authOptions"]
            secret = options.get("secretName") or rayjob["status"]["rayClusterName"]
            # Not printed: terminals are scrolled back, recorded and shared.
            click.echo(
                "It asks for a token: kubectl get secret -n "
                f"{cluster.namespace} {secret} -o jsonpath='{{.data.auth_token}}' | base64 -d",
                err=True,
            )
        _show(tunnel.url, browser)
        click.echo("Ctrl-C ends it.", err=True)
        said = None
        try:
            while True:
                time.sleep(0.5)
                if tunnel.last_error not in (None, said):
                    said = tunnel.last_error
                    click.echo(said, err=True)
        except KeyboardInterrupt:
            return 0


def _grafana(session: Session, name: str) -> str:
    url = session.platform.monitoring.grafana_url
    if not url:
        raise ConfigError(
            "the platform names no Grafana", fix="Set monitoring.grafanaUrl in the chart's values."
        )
    return f"{url.rstrip('/')}/d/vidgen-run?var-run={quote(name)}"


def _tensorboard(session: Session, name: str, port: int, browser: bool) -> int:
    """Copy metrics.jsonl into event files while TensorBoard shows them."""
    import importlib.util
    import socket
    import subprocess
    import sys
    import tempfile

    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "TensorBoard is not installed here", fix="pip install 'vidgen[tensorboard]'"
        )
    from vidgen.cloud.run_url import run_url
    from vidgen.cloud.tensorboard import EventCopier
    from vidgen.storage.run_folder import RunFolder

    run = RunFolder(run_url(session, name), session.storage)
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="vidgen-tensorboard-") as folder:
        copier = EventCopier(run, Path(folder) / name)
        copier.copy()
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder]
        server = subprocess.Popen([*command, "--port", str(port)])
        try:
            while server.poll() is None and not _answers(port):
                time.sleep(0.2)
            if server.poll() is None:
                _show(f"http://127.0.0.1:{port}", browser)
            while server.poll() is None:
                time.sleep(_COPY_EVERY_S)
                copier.copy()
        except KeyboardInterrupt:
            return 0
        finally:
            server.terminate()
            copier.close()
        return server.returncode or 0


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _show(url: str, browser: bool) -> None:
    click.echo(url)
    if browser:
        import webbrowser

        webbrowser.open(url)
