"""The nightly job: where parts are built, wired and closed."""
