"""Sweeps from Python, in notebooks above all: started, watched, stopped, looked at.

A sweep runs in a process of its own, beside the one that asks for it: it starts and ends Ray, handles signals and may
have to end at once, none of which a notebook's kernel would survive; and the next sweep finds a fresh process.
"""
