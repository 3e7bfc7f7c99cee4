"""Every setting: what it may be, and where its value comes from."""
