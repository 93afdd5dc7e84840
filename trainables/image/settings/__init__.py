"""The `data` section of a sweep file: its keys, their types and defaults. Nothing here looks at data."""
