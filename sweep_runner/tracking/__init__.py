"""Tells others of a sweep: trackers that follow its log, and a notification at its end."""
