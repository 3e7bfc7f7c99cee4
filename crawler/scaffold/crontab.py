"""The crontab of a nightly job, for cron's bare environment."""

from __future__ import annotations

import shlex

from crawler.scaffold.job import HOUR, MINUTE, Job

_HEAD = """\
# A crawl every night, in this machine's time zone. One at a time: a run that finds another one under way
# ends with exit code 7, and sends nothing. A good night prints nothing, so it sends no mail; warnings, and
# why a run ended with another exit code than 0, are mailed to MAILTO.
SHELL=/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin
MAILTO={user}
"""


def crontab(job: Job, user: str) -> str:
    """The crontab; mail goes to `user`."""
    variables = [] if job.settings.api.key_file else [f"CRAWLER_API_KEY_FILE={shlex.quote(str(job.key))}"]
    words = shlex.join((*job.words, "--quiet", "--no-progress"))
    command = f"cd {shlex.quote(str(job.folder))} && {' '.join([*variables, words])}"
    # To cron a bare percent sign ends the command.
    return f"{_HEAD.format(user=user)}{MINUTE} {HOUR} * * *  {command}\n".replace("%", "\\%")
