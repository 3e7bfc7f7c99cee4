"""A service and a timer of systemd for a nightly job: confined, and never started again by itself."""

from __future__ import annotations

from pathlib import Path

from crawler.scaffold.job import HOUR, MINUTE, Job

USER = "crawler"
SERVICE, TIMER = "crawler.service", "crawler.timer"
_PUBLISHING_S = 600
"""Seconds that publishing what was paid for may take after a stop, beside the grace."""
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - folders that a unit would hide

_SERVICE = """\
[Unit]
Description=Nightly crawl in {folder}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
WorkingDirectory={folder}
ExecStart={command}
# Read by systemd, so that the key may belong to root alone.
LoadCredential=key:{key}
Environment="CRAWLER_API_KEY_FILE=%d/key" PYTHONDONTWRITEBYTECODE=1

# These exit codes beside 0 are a good night (notify.ok); the others make the unit fail.
SuccessExitStatus={ok}
# Never by itself: a second try costs credits. The next night goes on as it should.
Restart=no
# A stop lets requests in flight end (run.grace), and publishes what was paid for.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec={stop_s}

UMask=0027
MemoryMax=1G
TasksMax=512
LimitNOFILE=16384
ProtectSystem=strict
ReadWritePaths={written}
ProtectHome={protect_home}
PrivateTmp={private_tmp}
PrivateDevices=yes
PrivateIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
CapabilityBoundingSet=
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
_TIMER = """\
[Unit]
Description=Every night: {service}

[Timer]
OnCalendar=*-*-* {hour:02}:{minute:02}:00 {zone}
# A night on which the machine was off is made up for when it is on again.
Persistent=true

[Install]
WantedBy=timers.target
"""


def units(job: Job) -> dict[str, str]:
    """The text of service and timer, by name."""
    settings = job.settings
    service = _SERVICE.format(
        user=USER,
        folder=_plain(job.folder),
        command=" ".join(map(_word, job.words)),
        key=_plain(job.key),
        ok=" ".join(str(code) for code in settings.notify.ok if code) or "0",
        stop_s=_PUBLISHING_S + round(settings.run.grace),
        written=" ".join(_written(job)),
        protect_home="read-only" if _is_below(job.read, _HOMES) else "yes",
        private_tmp="no" if _is_below(job.read, _TEMPORARY) else "yes",
    )
    timer = _TIMER.format(service=SERVICE, hour=HOUR, minute=MINUTE, zone=settings.run.timezone)
    return {SERVICE: service, TIMER: timer}


def _written(job: Job) -> list[str]:
    """What the service may write: the data folder, and that of the metrics, which need not be there."""
    textfile = job.settings.metrics.textfile
    metrics = [] if textfile is None else [_quoted(f"-{(job.folder / textfile).parent}")]
    return [_quoted(str(job.data)), *metrics]


def _is_below(paths: tuple[Path, ...], folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(folder) for path in paths for folder in folders)


def _plain(path: Path) -> str:
    """A path that takes the rest of its line, in which only the percent sign has a meaning."""
    return str(path).replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = text.replace("%", "%%").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & {" ", "'", '"'} else escaped


def _word(text: str) -> str:
    """A word of a command line, in which variables are written with a dollar sign."""
    return _quoted(text.replace("$", "$$"))
